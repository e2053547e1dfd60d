# The commands of developers and operators. PYTHON names the interpreter, VENV the environment:
#   make test PYTHON=python3.13 VENV=/tmp/venv-3.13

PYTHON ?= python3
VENV ?= .venv

py := $(VENV)/bin/python
install := -m pip install --quiet --disable-pip-version-check --require-hashes
pip := $(py) $(install)
compile := $(py) -m uv pip compile --quiet \
  --universal --python-version 3.11 --fork-strategy requires-python \
  --generate-hashes --no-strip-extras --custom-compile-command "make lock"
ours := pyproject.toml --extra postgres

# The servers that are compared with ours use the same SDKs and server, in an environment
# of their own: they need other versions of other packages.
bench_venv := $(VENV)-bench
bench_same := $(bench_venv)-same.txt
bench_stamp := $(bench_venv)/.bench

# Tests wait for much of their time, so there are more workers than cores. The suite runs
# on both databases at once; on PostgreSQL each worker needs up to 25 connections.
WORKERS ?= 5
POSTGRES_WORKERS ?= 3
pytest := $(py) -m pytest --dist loadgroup
# COVERAGE=yes measures the SQLite run, which then takes a third more time.
COVERAGE ?=
cov := $(if $(COVERAGE),--cov --cov-report=)
pure := architecture bench conf docs glossary language messages options pages \
  private_parts project side_effects versions
# These do not reach the database of the tests.
not_on_postgres := $(foreach name,agent aio browser providers selftest testing tools wire \
  $(pure:%=test_%.py),--ignore=tests/$(name))
postgres_log := $(VENV)/.postgres-tests.log

# Stamps: the environment matches these lock files.
run_stamp := $(VENV)/.run
dev_stamp := $(VENV)/.dev

# The same for the page's libraries, which only affect its appearance.
page_stamp := node_modules/.page
page_dev_stamp := node_modules/.page-dev
tsc := node_modules/.bin/tsc
npm_ci := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1 \
  --fetch-timeout=30000

.PHONY: help run test test-long check bench bench-quick faults docs screenshot format dev lock upgrade clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: $(run_stamp) $(page_stamp) ## serve on http://localhost:8080 (or PORT=9000 make run)
	@$(py) manage.py migrate --verbosity 0
	@exec $(py) manage.py runserver

test: $(dev_stamp) $(page_dev_stamp) ## run the tests: on SQLite, and on PostgreSQL where one answers
	@$(py) -m tests.available
	@url=`$(py) -m tests.available postgres` && { \
	  TEST_DATABASE_URL=$$url $(pytest) --numprocesses $(POSTGRES_WORKERS) \
	    $(not_on_postgres) > $(postgres_log) 2>&1 & postgres=$$!; }; \
	TEST_DATABASE_URL= $(pytest) --numprocesses $(WORKERS) $(cov); status=$$?; \
	[ -z "$$postgres" ] || { wait $$postgres || status=1; \
	  echo "On PostgreSQL:"; cat $(postgres_log); }; \
	exit $$status
ifneq ($(COVERAGE),)
	@printf "Coverage in %%, branches included: "
	@$(py) -m coverage report --format=total --fail-under=90
endif

test-long: $(dev_stamp) ## try 1,000 new examples of each property, then the faults at length: an hour
	@TEST_DATABASE_URL= $(pytest) --numprocesses $(WORKERS) --hypothesis-profile long --ignore=tests/browser
	@$(MAKE) --no-print-directory faults

check: $(dev_stamp) $(page_dev_stamp) ## formatting, lint, types, migrations, deployment, imports, JavaScript
	$(py) -m ruff format --check .
	$(py) -m ruff check .
	$(py) -m mypy
	DJANGO_SETTINGS_MODULE=tests.settings $(py) manage.py makemigrations --check
	DEBUG=false HTTPS=true SECRET_KEY=`$(py) -c 'print(__import__("secrets").token_hex(32))'` \
	  $(py) manage.py check --deploy --fail-level WARNING
	$(py) -m pytest --quiet tests/test_architecture.py tests/test_project.py
	@command -v node > /dev/null || echo "No node here: JavaScript is not checked."
	@! command -v node > /dev/null || for file in `find static -name '*.js'`; do \
	  echo "node --check $$file"; node --input-type=module --check < $$file || exit 1; \
	done
	@test -x $(tsc) || echo "No packages of npm here: the types of JavaScript are not checked."
	@! test -x $(tsc) || { echo $(tsc); $(tsc); }

bench: $(bench_stamp) ## ours beside ceilings and other frameworks: 19 minutes
	@$(py) -m bench.run --peers $(bench_venv)/bin/python

bench-quick: $(run_stamp) ## compare the speed with its floors: a minute
	@$(py) -m bench.quick

faults: $(dev_stamp) ## inject faults into real servers at length: ten minutes on each database
	@$(py) -m bench.faults
	@url=`$(py) -m tests.available postgres` || exit 0; $(py) -m bench.faults --postgres $$url

docs: $(run_stamp) ## write docs/configuration.md from the declarations of the settings
	@$(py) -m agentsite.reference

screenshot: $(dev_stamp) $(page_dev_stamp) ## take the screenshot of the demo page for README.md
	@$(py) -m tests.browser.screenshot

format: $(dev_stamp) ## format the code, and fix what ruff can fix
	$(py) -m ruff check --fix .
	$(py) -m ruff format .

dev: $(dev_stamp) ## make the environment with the developers' tools, and no more

lock: $(dev_stamp) ## bring requirements/ in step with pyproject.toml
	$(compile) $(ours) $(UPGRADE) --output-file requirements/run.txt
	$(compile) $(ours) $(UPGRADE) --group dev --constraints requirements/run.txt \
	  --output-file requirements/dev.txt
	@sed -En 's/^(aiohttp|anthropic|asgiref|django|httpx2|openai|uvicorn)(\[.*\])?(==[^ ]+) .*/\1\3/p' \
	  requirements/run.txt > streaming/tested_versions.txt
	@sed -En 's/^(aiohttp|anthropic|httptools|httpx2|msgspec|openai|uvicorn|uvloop)(\[.*\])?(==[^ ]+) .*/\1\3/p' \
	  requirements/run.txt > $(bench_same)
	$(compile) --group pyproject.toml:bench $(UPGRADE) --constraints $(bench_same) \
	  --output-file requirements/bench.txt

upgrade: ## the same, with the newest versions
	@$(MAKE) lock UPGRADE=--upgrade

clean: ## remove the environment and what tools left behind (not data/)
	rm -rf $(VENV) $(bench_venv)* node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define can_make_environments
import sys
if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed and $(PYTHON) is %d.%d: name another, as in"
             " make run PYTHON=python3.13" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("$(PYTHON) lacks the venv module: on Debian or Ubuntu, apt install python3-venv")
endef
export can_make_environments

$(py):
	@$(PYTHON) -c "$$can_make_environments"
	@$(PYTHON) -m venv --clear $(VENV)

$(run_stamp): $(py) requirements/run.txt
	@echo "Installing the locked packages: some 20 seconds."
	@$(pip) --requirement requirements/run.txt
	@touch $@

$(dev_stamp): $(py) requirements/dev.txt
	@echo "Installing the locked packages and the developers' tools: some 30 seconds."
	@$(pip) --requirement requirements/dev.txt
	@touch $(run_stamp) $@

$(bench_stamp): $(run_stamp) requirements/bench.txt
	@echo "Installing the servers to compare with: a minute."
	@$(py) -m venv --clear $(bench_venv)
	@$(bench_venv)/bin/python $(install) --requirement requirements/bench.txt
	@touch $@

define plain_text
  || echo "npm could not bring the page's libraries: answers are shown as plain text."
endef

ifeq ($(shell command -v npm 2> /dev/null),)
$(page_stamp) $(page_dev_stamp):
	@echo "No npm here: answers are shown as plain text."
else
$(page_stamp): package-lock.json
	@$(npm_ci) --omit=dev > /dev/null 2>&1 && npm run --silent browser && touch $@ $(plain_text)

$(page_dev_stamp): package-lock.json
	@$(npm_ci) > /dev/null 2>&1 && npm run --silent browser && touch $(page_stamp) $@ $(plain_text)
endif
