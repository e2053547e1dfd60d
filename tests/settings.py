"""The site's settings for tests: the demo model, a temporary data directory, and none
of the settings in the developer's own environment.

TEST_DATABASE_URL names a PostgreSQL to test with; without it, SQLite.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from agentsite.options import SiteOptions
from streaming import conf
from streaming.options import declarations

DECLARED = {
    declared.name
    for group in (SiteOptions, *conf.groups())
    for declared in declarations(group)
}
#: The SDKs read further variables, such as ANTHROPIC_AUTH_TOKEN.
VENDORS = ("ANTHROPIC_", "OPENAI_")
for variable in [*os.environ]:
    if variable in DECLARED or variable.startswith(VENDORS):
        del os.environ[variable]

DIRECTORY = Path(tempfile.mkdtemp(prefix="agent-tests-"))
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)

os.environ |= {
    "LLM_PROVIDER": "demo",
    "AUTHENTICATION": "streaming.auth.open",
    "DEBUG": "false",
    "SECRET_KEY": "only-for-tests",
    "DEMO_DELAY_MS": "0",
    "DATA_DIR": str(DIRECTORY),
    "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", ""),
}

from agentsite.settings import *  # noqa: E402, F403
from agentsite.settings import DATABASES, INSTALLED_APPS  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    INSTALLED_APPS.append("tests.job_tables.JobTables")
# Users are created in many tests, and the usual hash takes 0.25 s of CPU.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# SQLite uses a file, since threads do not share a database in memory. On PostgreSQL the
# name is unique, so that two checkouts can be tested at the same time.
_sqlite = DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
DATABASES["default"]["TEST"] = {
    "NAME": str(DIRECTORY / "test.sqlite3") if _sqlite else f"test_agent_{os.getpid()}"
}
