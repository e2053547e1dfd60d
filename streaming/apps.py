"""The app's configuration: at start it collects the agents of every installed app."""

from django.apps import AppConfig
from django.core.signals import setting_changed

from streaming import conf
from streaming.agents import registry


class StreamingConfig(AppConfig):
    """The agents' app."""

    name = "streaming"
    verbose_name = "Agent"
    default_auto_field = "django.db.models.BigAutoField"
    agents: registry.Registry

    def ready(self) -> None:
        """Validate the settings and the agents; an error stops the start."""
        from streaming import checks  # needs the models
        from streaming.agents import checks as agent_checks

        options = conf.get()
        setting_changed.connect(conf.forget_settings)
        checks.register_checks()
        agent_checks.register_checks()
        self.agents = registry.discover()
        conf.reject_unknown_keys(self.agents.models)
        from streaming.auth import chain  # it may need the models
        from streaming.runs.extras import check_extras

        chain.set_up()
        chain.admit_anonymous_if(registry.admits_anyone)
        check_extras(options)
        conf.import_named("RUN_EXECUTOR", options.executor_path)
