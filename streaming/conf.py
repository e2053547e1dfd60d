"""The settings, typed and read once: `conf.get()`.

Environment variables become Django settings in the site's settings.py; this module
turns the one `AGENT` dictionary there into a value, so that the app asks for
`conf.get().max_input_chars` and not for strings.
"""

from functools import cache
from typing import Literal

import msgspec
from django.conf import settings
from django.core.signals import setting_changed

ProviderName = Literal["anthropic", "openai", "demo"]


class ProviderConf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model answers, and how patient we are with it. Times are in seconds."""

    name: ProviderName = "demo"
    #: Empty: the provider's default.
    model: str = ""
    api_key: str = ""
    #: Empty: the SDK's own.
    base_url: str = ""
    #: Empty: Responses against OpenAI itself, Chat Completions elsewhere.
    openai_api: Literal["", "responses", "chat"] = ""
    max_tokens: int = 8192
    #: "auto", "off", an effort ("low", "medium", "high") or a budget of tokens.
    thinking: str = "auto"
    connect_timeout: float = 10.0
    first_token_timeout: float = 120.0
    silence_timeout: float = 120.0
    max_retries: int = 2
    #: Of the demo model: pause between two words.
    demo_delay: float = 0.02


class AgentConf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything else. Times are in seconds unless named otherwise."""

    name: str = "Agent"
    description: str = ""
    system_prompt: str = ""
    provider: ProviderConf = ProviderConf()
    max_input_chars: int = 100_000
    max_body_bytes: int = 2 * 1024 * 1024
    history_chars: int = 400_000
    tool_timeout: float = 30.0
    max_tool_result_chars: int = 100_000
    heartbeat: float = 15.0
    send_timeout: float = 60.0
    event_flush_ms: int = 200
    run_abandon: float = 60.0
    run_lease: float = 15.0
    drain: float = 10.0


@cache
def get() -> AgentConf:
    """The app's settings as one value."""
    return msgspec.convert(settings.AGENT, AgentConf)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "AGENT":
        get.cache_clear()


setting_changed.connect(_forget)
