"""The model's side: requests to a vendor's API, and its bytes decoded into deltas."""

from streaming.providers.registry import make_provider

__all__ = ["make_provider"]
