"""The settings, typed and read once: `conf.get()`.

Environment variables become Django settings in the site's settings.py; this module
turns the one `AGENT` dictionary there into a value, so that the app asks for
`conf.get().agent_max_input_chars` and not for strings.
"""

from functools import cache

import msgspec
from django.conf import settings
from django.core.signals import setting_changed

from streaming.providers.base import ProviderOptions


class AgentConf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the agent and its runs behave. Times are in seconds where not named."""

    agent_name: str = "Agent"
    agent_description: str = ""
    agent_system_prompt: str = ""
    provider: ProviderOptions = ProviderOptions()
    agent_max_input_chars: int = 100_000
    agent_max_body_bytes: int = 2 * 1024 * 1024
    agent_history_chars: int = 400_000
    agent_tool_timeout_seconds: float = 30.0
    agent_max_tool_result_chars: int = 100_000
    stream_heartbeat_seconds: float = 15.0
    stream_send_timeout_seconds: float = 30.0
    #: Of one process; 0: no limit.
    stream_max_open: int = 2_000
    #: Under way at once; 0: no limit.
    run_max_per_org: int = 0
    #: Dotted path of the function that turns a request into a `Principal`.
    authentication: str = "streaming.api.access.organization_from_request"
    #: Of one process: they read from the database.
    database_read_threads: int = 4
    #: Of one process: they run the sync code of requests.
    request_threads: int = 8
    event_flush_ms: int = 200
    run_abandon_seconds: float = 60.0
    run_lease_seconds: float = 15.0
    drain_seconds: float = 10.0
    #: Days after its end that a run's event log is kept; 0: for ever.
    run_retention_days: int = 0
    #: Days after its last use that a conversation is kept; 0: for ever.
    conversation_retention_days: int = 0


@cache
def get() -> AgentConf:
    """The app's settings as one value."""
    return msgspec.convert(settings.AGENT, AgentConf)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "AGENT":
        get.cache_clear()


setting_changed.connect(_forget)
