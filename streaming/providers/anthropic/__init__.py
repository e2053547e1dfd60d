"""Anthropic's Messages API."""

from streaming.providers.anthropic.provider import AnthropicProvider

__all__ = ["AnthropicProvider"]
