"""The model's side: vendor bytes in, our deltas out."""

from streaming.providers.base import Provider, ProviderOptions
from streaming.providers.patience import Patience


def make_provider(options: ProviderOptions) -> Provider:
    """The provider that the options name. A vendor's SDK is loaded only when used."""
    match options.name:
        case "anthropic":
            from streaming.providers.anthropic import AnthropicProvider

            return Patience(AnthropicProvider(options), options)
        case "openai":
            from streaming.providers.openai import OpenAIProvider

            return Patience(OpenAIProvider(options), options)
        case "demo":
            from streaming.providers.demo import DemoProvider

            return DemoProvider(options)
