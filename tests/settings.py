"""The site's settings for tests: no real model, a data directory of their own."""

import os
import tempfile

os.environ |= {
    "LLM_PROVIDER": "demo",
    "DEBUG": "false",
    "SECRET_KEY": "only-for-tests",
    "DEMO_DELAY_MS": "0",
    "DATA_DIR": tempfile.mkdtemp(prefix="agent-tests-"),
}

from agentsite.settings import *  # noqa: F403
