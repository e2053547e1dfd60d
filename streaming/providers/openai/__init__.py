"""OpenAI, and the servers that speak like it."""

from streaming.providers.openai.provider import OpenAIProvider

__all__ = ["OpenAIProvider"]
