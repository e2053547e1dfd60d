"""The site's settings with further apps, which the variable MORE_APPS names.

They stand above the site's own, as an app must whose `runserver` is the project's. The
variable ASGI_APPLICATION names another application.
"""

import os

from agentsite.settings import *  # noqa: F403
from agentsite.settings import ASGI_APPLICATION, INSTALLED_APPS

INSTALLED_APPS = [*os.environ["MORE_APPS"].split(","), *INSTALLED_APPS]
ASGI_APPLICATION = os.environ.get("ASGI_APPLICATION", ASGI_APPLICATION)
