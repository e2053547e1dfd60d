"""The packages that settings need: extras of this package that may not be installed."""

from importlib.util import find_spec

from django.core.exceptions import ImproperlyConfigured

from streaming.app_options import AgentConf


def check_extras(options: AgentConf) -> None:
    """Raise `ImproperlyConfigured` if a setting needs a package that is missing."""
    for name, is_set, module, extra in (
        ("METRICS_TOKEN", options.metrics_token, "prometheus_client", "metrics"),
        ("METRICS_ADDRESS", options.metrics_address, "prometheus_client", "metrics"),
        ("TRACES", options.traces, "opentelemetry.sdk", "otel"),
    ):
        if is_set and not is_installed(module):
            raise ImproperlyConfigured(
                f"{name} needs a package that is not installed: run "
                f"`pip install 'agent-stream[{extra}]'`."
            )


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of its package
        return False
