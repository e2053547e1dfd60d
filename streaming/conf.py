"""The app's settings: declared here, given by the Django setting `STREAMING`.

`STREAMING` is a dictionary whose keys are the names of the environment variables, with
one exception: `MODEL` stands for `LLM_PROVIDER` and `LLM_MODEL`. `conf.get()` returns
the settings as one value with typed attributes, `conf.provider()` those of the model's
provider.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from typing import Annotated, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from streaming.options import (
    InvalidSetting,
    Options,
    Setting,
    build,
    declarations,
    missing,
    parse,
)
from streaming.providers.base import ProviderOptions
from streaming.providers.environment import read_environment
from streaming.providers.registry import (
    PROVIDERS,
    Registration,
    UnknownProvider,
    find_provider,
)

Group = TypeVar("Group", bound=Options)

#: The environment variables that `MODEL` stands for.
_LLM = ("LLM_PROVIDER", "LLM_MODEL")


class AgentConf(Options, frozen=True):
    """The settings of the agent, its runs and its streams."""

    model: Annotated[
        str,
        Setting(
            "Provider and model as `provider:model`, or the provider alone for its "
            "default model. In the environment: `LLM_PROVIDER` and `LLM_MODEL`.",
            default="the first provider whose key is set, else `demo`",
        ),
    ] = ""
    agent_name: Annotated[str, Setting("Name of the agent in the metadata.")] = "Agent"
    agent_description: Annotated[
        str, Setting("Description of the agent in the metadata.")
    ] = "A general-purpose agent that thinks, calls tools and streams its answer."
    agent_system_prompt: Annotated[str, Setting("Instructions for the model.")] = (
        "You are a helpful assistant. Use the tools when they give a surer answer "
        "than you could, the calculator for every calculation."
    )
    agent_max_input_chars: Annotated[
        int, Setting("Maximum length of `input`.", "characters", minimum=1)
    ] = 100_000
    agent_max_body_bytes: Annotated[
        int, Setting("Maximum size of a request's body.", "bytes", minimum=1024)
    ] = 2 * 1024 * 1024
    agent_max_bodies_bytes: Annotated[
        int,
        Setting(
            "Maximum size of all large request bodies that one process holds in memory "
            "at a time; one more gets 429 `rate_limited`. The first 64 kB of a body do "
            "not count.",
            "bytes",
            minimum=1024,
        ),
    ] = 64 * 1024 * 1024
    agent_max_context_chars: Annotated[
        int,
        Setting(
            "Maximum length of `context`, names and values together.",
            "characters",
            minimum=0,
        ),
    ] = 100_000
    agent_history_chars: Annotated[
        int,
        Setting(
            "Length of a conversation that is sent to the model; older exchanges are "
            "omitted.",
            "characters",
            minimum=1,
        ),
    ] = 400_000
    agent_tool_timeout_seconds: Annotated[
        float, Setting("Timeout of a tool call.", "seconds", minimum=0)
    ] = 30.0
    agent_max_tool_result_chars: Annotated[
        int,
        Setting(
            "Length of a tool result beyond which it is cut.", "characters", minimum=0
        ),
    ] = 100_000
    request_read_timeout_seconds: Annotated[
        float,
        Setting(
            "Time in which a client must send the head of a request, and again its "
            "body; otherwise it gets 408 `request_timeout` and is disconnected.",
            "seconds",
            minimum=0.05,
        ),
    ] = 30.0
    stream_heartbeat_seconds: Annotated[
        float,
        Setting("Silence after which a comment is sent.", "seconds", minimum=0.05),
    ] = 15.0
    stream_send_timeout_seconds: Annotated[
        float,
        Setting(
            "Time in which a client must read some of what was sent; otherwise it is "
            "disconnected, and may resume.",
            "seconds",
            minimum=0.05,
        ),
    ] = 30.0
    stream_max_open: Annotated[
        int,
        Setting(
            "Maximum number of open streams of one process; one more gets 429 "
            "`too_many_streams`. 0: no limit.",
            minimum=0,
        ),
    ] = 2_000
    run_max: Annotated[
        int,
        Setting(
            "Maximum number of runs that one process executes at a time; one more gets "
            "429 `rate_limited`. 0: no limit.",
            minimum=0,
        ),
    ] = 1_000
    run_max_per_org: Annotated[
        int,
        Setting(
            "Maximum number of active runs of one organization; one more gets 429 "
            "`rate_limited`. 0: no limit.",
            minimum=0,
        ),
    ] = 0
    authentication: Annotated[
        str,
        Setting(
            "Dotted path of the function that returns the `Principal` of a request."
        ),
    ] = "streaming.api.access.organization_from_request"
    database_read_threads: Annotated[
        int,
        Setting(
            "Threads of one process that read from the database. One more writes.",
            minimum=1,
        ),
    ] = 4
    request_threads: Annotated[
        int,
        Setting(
            "Threads of one process for the synchronous code of requests, such as the "
            "admin's. Streams need none.",
            minimum=1,
        ),
    ] = 8
    event_flush_ms: Annotated[
        int,
        Setting(
            "Interval between flushes of the event log. A `kill -9` loses at most this "
            "interval plus one write.",
            "milliseconds",
            minimum=1,
        ),
    ] = 200
    run_abandon_seconds: Annotated[
        float,
        Setting(
            "Time that a run continues without a reader before it is cancelled. Runs "
            "with `background` are never cancelled for this reason.",
            "seconds",
            minimum=0,
        ),
    ] = 60.0
    run_max_chars: Annotated[
        int,
        Setting(
            "Length of all that one run adds to its conversation, at which the run "
            "ends with `max_tokens`.",
            "characters",
            minimum=1,
        ),
    ] = 16_000_000
    run_lease_seconds: Annotated[
        float,
        Setting(
            "Time without a heartbeat after which a process counts as dead and its "
            "runs as interrupted.",
            "seconds",
            minimum=1,
        ),
    ] = 15.0
    run_blocked_lease_seconds: Annotated[
        float,
        Setting(
            "Time for which a process whose event loop is blocked, as by an async tool "
            "that blocks, keeps its runs. Then other processes count them as "
            "interrupted.",
            "seconds",
            minimum=0,
        ),
    ] = 60.0
    run_executor: Annotated[
        str,
        Setting(
            "Executor of runs: a module of `streaming.runs.executors`, or the dotted "
            "path of a class."
        ),
    ] = "in_process"
    drain_seconds: Annotated[
        float,
        Setting(
            "Time that active runs have to finish at shutdown.", "seconds", minimum=0
        ),
    ] = 10.0
    run_retention_days: Annotated[
        int,
        Setting(
            "Time that a run's event log is kept after the run's end. 0: for ever.",
            "days",
            minimum=0,
        ),
    ] = 0
    conversation_retention_days: Annotated[
        int,
        Setting(
            "Time that a conversation is kept after its last use, with all that "
            "belongs to it. 0: for ever.",
            "days",
            minimum=0,
        ),
    ] = 0

    @property
    def database_threads(self) -> int:
        """Return the number of threads of one process that use the database."""
        return self.database_read_threads + self.request_threads + 1


@cache
def get() -> AgentConf:
    """Return the settings of the app. Raises `ImproperlyConfigured`."""
    agent, _ = load(getattr(settings, "STREAMING", {}))
    return agent


@cache
def provider() -> ProviderOptions:
    """Return the options of the model's provider. Raises `ImproperlyConfigured`."""
    _, options = load(getattr(settings, "STREAMING", {}))
    return options


def forget_settings(*, setting: str, **_: object) -> None:
    """Have the settings read again after `override_settings(STREAMING=…)`."""
    if setting == "STREAMING":
        get.cache_clear()
        provider.cache_clear()


def load(values: Mapping[str, object]) -> tuple[AgentConf, ProviderOptions]:
    """Return the settings that a dictionary gives. Raises `ImproperlyConfigured`."""
    with _configuration_errors():
        agent = build(AgentConf, values)
        name, _, model = agent.model.partition(":")
        name = name or _default_provider(values)
        options = _find_provider(name, "MODEL", agent.model).options
        _reject_unknown(values, options)
        values = {**read_environment(options), **values}
        if names := missing(options, values):
            raise InvalidSetting(
                f"{names[0]} is not set, and the provider {name!r} needs it: set it, "
                "or select the offline model (LLM_PROVIDER=demo in the environment, "
                "'MODEL': 'demo' in STREAMING)."
            )
        chosen = {"LLM_PROVIDER": name, "LLM_MODEL": model}
        return agent, build(options, {**values, **chosen})


def from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    """Return the dictionary `STREAMING` that environment variables give, validated.

    Keys and base URLs are left out, since the app reads them itself. The class of a
    provider that is named by its dotted path is imported: its module must not need
    Django's settings. Raises `ImproperlyConfigured`.
    """
    with _configuration_errors():
        name, model = (variables.get(v, "").strip() for v in _LLM)
        chosen = _find_provider(name, "LLM_PROVIDER", name).options if name else None
        values: dict[str, object] = {}
        for group in groups(chosen):
            values |= parse(group, {**variables, "MODEL": ""})
            for declared in declarations(group):
                if declared.setting.from_environment or declared.name in _LLM:
                    values.pop(declared.name, None)
    if name or model:
        values["MODEL"] = f"{name}:{model}" if model else name
    load(values)
    return values


def groups(chosen: type[ProviderOptions] | None = None) -> list[type[Options]]:
    """Return the groups of the app, of the registered providers and of the chosen."""
    registered = [registration.options for registration in PROVIDERS.values()]
    return [AgentConf, *registered, *filter(None, [chosen])]


def read(group: type[Group], variables: Mapping[str, str]) -> Group:
    """Return a group of a site's own settings. Raises `ImproperlyConfigured`."""
    with _configuration_errors():
        return build(group, parse(group, variables))


@contextmanager
def _configuration_errors() -> Iterator[None]:
    try:
        yield
    except InvalidSetting as error:
        raise ImproperlyConfigured(str(error)) from None


def _find_provider(name: str, setting: str, value: str) -> Registration:
    try:
        return find_provider(name)
    except UnknownProvider as error:
        raise InvalidSetting(f"{setting}={value!r}: expected {error}.") from error


def _default_provider(values: Mapping[str, object]) -> str:
    """Return the first provider whose required settings are given."""
    return next(
        name
        for name, (_, options) in PROVIDERS.items()
        if not missing(options, {**read_environment(options), **values})
    )


def _reject_unknown(
    values: Mapping[str, object], options: type[ProviderOptions]
) -> None:
    known = {d.name for group in groups(options) for d in declarations(group)}
    known -= set(_LLM)
    for name in values.keys() - known:
        [nearest] = get_close_matches(str(name).upper(), known, n=1, cutoff=0)
        nearest = "MODEL" if name in _LLM else nearest
        raise InvalidSetting(
            f"STREAMING has the unknown key {name!r}: did you mean {nearest!r}?"
        )
