"""The site's settings, with tools that take their time."""

from agentsite.settings import *  # noqa: F403
from agentsite.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "bench.faults"]
