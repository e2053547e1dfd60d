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
from typing import TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from streaming.app_options import AgentConf
from streaming.options import (
    InvalidSetting,
    Options,
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
