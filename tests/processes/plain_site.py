"""The site as Django's own ASGI application serves it."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()
