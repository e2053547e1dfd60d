"""The ASGI application that a server runs: `uvicorn agentsite.asgi:application`."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")

try:
    import django

    django.setup()
except ImproperlyConfigured as error:
    sys.exit(f"Configuration error: {error}")

from streaming.server.asgi import make_application

application = make_application()
