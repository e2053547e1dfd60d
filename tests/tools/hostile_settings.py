"""The site's settings, with tools that damage their process, if they can."""

from agentsite.settings import *  # noqa: F403
from agentsite.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.tools.hostileapp"]
