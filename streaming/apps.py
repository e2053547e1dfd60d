"""The app: at start it gathers the tools of every installed app."""

from django.apps import AppConfig


class StreamingConfig(AppConfig):
    """The agent's app."""

    name = "streaming"
    verbose_name = "Agent"
    default_auto_field = "django.db.models.BigAutoField"
