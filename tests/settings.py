"""The site's settings for tests: no real model, a data directory of their own, and
nothing of the developer's own environment.

TEST_DATABASE_URL names a PostgreSQL to test with; without it, SQLite.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

OURS = (
    "AGENT_",
    "ALLOWED_HOSTS",
    "ANTHROPIC_",
    "CONVERSATION_",
    "CORS_",
    "CSRF_",
    "DATABASE_",
    "DRAIN_",
    "EVENT_",
    "HTTPS",
    "LLM_",
    "OPENAI_",
    "PORT",
    "RUN_",
    "STREAM_",
)
for variable in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[variable]

DIRECTORY = Path(tempfile.mkdtemp(prefix="agent-tests-"))
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)

os.environ |= {
    "LLM_PROVIDER": "demo",
    "DEBUG": "false",
    "SECRET_KEY": "only-for-tests",
    "DEMO_DELAY_MS": "0",
    "DATA_DIR": str(DIRECTORY),
    "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", ""),
}

from agentsite.settings import *  # noqa: E402, F403
from agentsite.settings import DATABASES  # noqa: E402

# SQLite in a file, for threads do not share one in memory as they share a file; on
# PostgreSQL a name of our own, so that two checkouts can be tested at once.
_sqlite = DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
DATABASES["default"]["TEST"] = {
    "NAME": str(DIRECTORY / "test.sqlite3") if _sqlite else f"test_agent_{os.getpid()}"
}
