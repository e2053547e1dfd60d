"""The registry of providers: each name with the class that it stands for.

A class is imported when it is first used, since a vendor's SDK takes most of a second,
and the HTTP client of `RetryingProvider` a quarter of one.
"""

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import NamedTuple

from msgspec import structs

from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.base import Provider, ProviderOptions
from streaming.providers.demo.options import DemoOptions
from streaming.providers.openai.options import OpenAIOptions


class UnknownProvider(LookupError):
    """A name that is neither registered nor the dotted path of a class."""


class Registration(NamedTuple):
    """The dotted path of a provider's class, and the class of its options."""

    path: str
    options: type[ProviderOptions]


#: In the order in which a provider is selected by the key that is set.
PROVIDERS: Mapping[str, Registration] = {
    "anthropic": Registration(
        "streaming.providers.anthropic.provider.AnthropicProvider", AnthropicOptions
    ),
    "openai": Registration(
        "streaming.providers.openai.provider.OpenAIProvider", OpenAIOptions
    ),
    "demo": Registration("streaming.providers.demo.provider.DemoProvider", DemoOptions),
}


def find_provider(name: str) -> Registration:
    """Return the registration of a name or a dotted path. Raises `UnknownProvider`."""
    if name in PROVIDERS:
        return PROVIDERS[name]
    if "." not in name:
        known = ", ".join(map(repr, PROVIDERS))
        raise UnknownProvider(f"one of {known} or the dotted path of a class")
    try:
        provider = resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownProvider(f"the dotted path of a class ({error})") from error
    return Registration(name, getattr(provider, "options_type", ProviderOptions))


def make_provider(
    options: ProviderOptions, fallbacks: Sequence[ProviderOptions] = ()
) -> Provider:
    """Return the provider that the options name, with timeouts and retries.

    The models of `fallbacks` answer, in this order, if the first one is unavailable.
    A configured context window is that of the first model: theirs are known or learned.
    """
    if not fallbacks:
        return _make(options)
    from streaming.providers.fallback import FallbackProvider

    others = (structs.replace(each, llm_context_window=0) for each in fallbacks)
    return FallbackProvider([_make(options), *map(_make, others)])


def _make(options: ProviderOptions) -> Provider:
    make = resolve_name(find_provider(options.llm_provider).path)
    provider: Provider = make(options)
    if getattr(provider, "needs_retries", True):
        from streaming.providers.retry import RetryingProvider

        return RetryingProvider(provider, options)
    return provider
