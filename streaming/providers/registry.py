"""The registry of providers: each name with the class that it stands for.

A class is imported when it is first used, since a vendor's SDK takes most of a second.
"""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import NamedTuple

from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.base import Provider, ProviderOptions
from streaming.providers.demo.options import DemoOptions
from streaming.providers.openai.options import OpenAIOptions
from streaming.providers.retry import RetryingProvider


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


def make_provider(options: ProviderOptions) -> Provider:
    """Return the provider that the options name, with timeouts and retries."""
    make = resolve_name(find_provider(options.llm_provider).path)
    provider: Provider = make(options)
    if getattr(provider, "needs_retries", True):
        return RetryingProvider(provider, options)
    return provider
