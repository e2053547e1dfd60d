"""The app's settings: declared here, given by the Django setting `STREAMING`.

`STREAMING` is a dictionary whose keys are the names of the environment variables, with
one exception: `MODEL` stands for `LLM_PROVIDER` and `LLM_MODEL`. `conf.get()` returns
the settings as one value with typed attributes, `conf.provider()` those of the model's
provider.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from streaming.app_options import AgentConf
from streaming.options import (
    InvalidSetting,
    Options,
    build,
    declarations,
    missing,
    parse,
)
from streaming.prices import InvalidPrice, parse_prices
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
    """Return the settings of the app. Raises `ImproperlyConfigured`.

    A key that no setting has is accepted here: `reject_unknown_keys` needs the agents.
    """
    agent, _ = _load(getattr(settings, "STREAMING", {}))
    return agent


@cache
def provider(model: str = "", option: str = "model") -> ProviderOptions:
    """Return the options of a model's provider; without a model, of the setting's.

    Raises `ImproperlyConfigured`.
    """
    values = getattr(settings, "STREAMING", {})
    with _configuration_errors():
        if model:
            return _provider_options(option, model, values)
        return _provider_options("MODEL", get().model, values)


def reject_unknown_keys(models: Iterable[str]) -> None:
    """Raise `ImproperlyConfigured` if `STREAMING` has a key that no setting has.

    The providers of the agents' models may have settings of their own.
    """
    load(getattr(settings, "STREAMING", {}), models)


def forget_settings(*, setting: str, **_: object) -> None:
    """Have the settings read again after `override_settings(STREAMING=…)`."""
    if setting == "STREAMING":
        get.cache_clear()
        provider.cache_clear()


def load(
    values: Mapping[str, object], models: Iterable[str] = ()
) -> tuple[AgentConf, ProviderOptions]:
    """Return the settings that a dictionary gives. Raises `ImproperlyConfigured`.

    Each key must be of the app, or of a provider: a registered one, that of the
    setting, or that of another model.
    """
    with _configuration_errors():
        name = build(AgentConf, values).model.partition(":")[0]
        names = {name or _default_provider(values)}
        names |= {model.partition(":")[0] for model in models} - {""}
        chosen = [_find_provider(each, "MODEL", each).options for each in names]
        _reject_unknown(values, chosen)
    return _load(values)


def from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    """Return the dictionary `STREAMING` that environment variables give, validated.

    Keys and base URLs are left out, since the app reads them itself. The class of a
    provider that is named by its dotted path is imported: its module must not need
    Django's settings. Raises `ImproperlyConfigured`.
    """
    with _configuration_errors():
        name, model = (variables.get(v, "").strip() for v in _LLM)
        chosen = [_find_provider(name, "LLM_PROVIDER", name).options] if name else []
        values: dict[str, object] = {}
        for group in groups(*chosen):
            values |= parse(group, {**variables, "MODEL": ""})
            for declared in declarations(group):
                if declared.setting.from_environment or declared.name in _LLM:
                    values.pop(declared.name, None)
    if name or model:
        values["MODEL"] = f"{name}:{model}" if model else name
    load(values)
    return values


def import_named(setting: str, path: str) -> Any:  # noqa: ANN401  (of any type)
    """Return the object that a setting names. Raises `ImproperlyConfigured`."""
    try:
        return import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{setting}={path!r}: expected a dotted path ({error})."
        ) from error


def groups(*chosen: type[ProviderOptions]) -> list[type[Options]]:
    """Return the groups of the app, of the registered providers and of the chosen."""
    registered = [registration.options for registration in PROVIDERS.values()]
    return [AgentConf, *registered, *chosen]


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


def _load(values: Mapping[str, object]) -> tuple[AgentConf, ProviderOptions]:
    with _configuration_errors():
        agent = build(AgentConf, values)
        _check_prices(agent.model_prices)
        _check_redis(agent.redis_url)
        return agent, _provider_options("MODEL", agent.model, values)


def _provider_options(
    setting: str, model: str, values: Mapping[str, object]
) -> ProviderOptions:
    """Return the options of the provider that a setting names as `provider:model`."""
    name, _, model_name = model.partition(":")
    name = name or _default_provider(values)
    options = _find_provider(name, setting, model).options
    values = {**read_environment(options), **values}
    if names := missing(options, values):
        raise InvalidSetting(
            f"{names[0]} is not set, and the provider {name!r} needs it: set it, "
            "or select the offline model (LLM_PROVIDER=demo in the environment, "
            "'MODEL': 'demo' in STREAMING)."
        )
    chosen = {"LLM_PROVIDER": name, "LLM_MODEL": model_name}
    return build(options, {**values, **chosen})


def _find_provider(name: str, setting: str, value: str) -> Registration:
    try:
        return find_provider(name)
    except UnknownProvider as error:
        raise InvalidSetting(f"{setting}={value!r}: expected {error}.") from error


def _check_prices(entries: tuple[str, ...]) -> None:
    try:
        parse_prices(entries)
    except InvalidPrice as error:
        raise InvalidSetting(
            f"MODEL_PRICES={str(error)!r}: expected MODEL=INPUT/OUTPUT, in US dollars "
            "for a million tokens."
        ) from None


def _check_redis(url: str) -> None:
    if not url:
        return
    try:
        from redis.asyncio.connection import parse_url  # an optional package

        parse_url(url)
    except ImportError:
        raise InvalidSetting(
            "REDIS_URL is set, and the package redis is not installed: install the "
            "extra `redis`."
        ) from None
    except ValueError:
        raise InvalidSetting(
            "REDIS_URL=***: expected a URL such as redis://host:6379."
        ) from None


def _default_provider(values: Mapping[str, object]) -> str:
    """Return the first provider whose required settings are given."""
    return next(
        name
        for name, (_, options) in PROVIDERS.items()
        if not missing(options, {**read_environment(options), **values})
    )


def _reject_unknown(
    values: Mapping[str, object], chosen: Iterable[type[ProviderOptions]]
) -> None:
    known = {d.name for group in groups(*chosen) for d in declarations(group)}
    known -= set(_LLM)
    for name in values.keys() - known:
        [nearest] = get_close_matches(str(name).upper(), known, n=1, cutoff=0)
        nearest = "MODEL" if name in _LLM else nearest
        raise InvalidSetting(
            f"STREAMING has the unknown key {name!r}: did you mean {nearest!r}?"
        )
