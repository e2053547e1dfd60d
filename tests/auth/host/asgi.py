"""The project's application as Django makes it, and as the app makes it."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()

from streaming.server.asgi import make_application  # noqa: E402  (needs the models)

lean = make_application()
