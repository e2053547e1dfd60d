"""The model's side: vendor bytes in, our deltas out."""

from streaming.providers.base import Provider, ProviderOptions
from streaming.providers.retry import RetryingProvider


def make_provider(options: ProviderOptions) -> Provider:
    """The provider that the options name. A vendor's SDK is loaded only when used."""
    match options.name:
        case "anthropic":
            from streaming.providers.anthropic import AnthropicProvider

            return RetryingProvider(AnthropicProvider(options), options)
        case "openai":
            from streaming.providers.openai import OpenAIProvider

            return RetryingProvider(OpenAIProvider(options), options)
        case "demo":
            from streaming.providers.demo import DemoProvider

            return DemoProvider(options)
