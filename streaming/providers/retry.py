"""Timeouts and retries around a vendor's provider, the same for each vendor."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing

from streaming.aio.deadline import Deadline
from streaming.exceptions import ProviderError, ProviderTimeout
from streaming.providers.base import (
    Delta,
    ModelRequest,
    Provider,
    ProviderOptions,
    TokenUsage,
)

logger = logging.getLogger(__name__)

#: Backoff in seconds: before the first retry, and at most.
_FIRST_DELAY = 0.5
_MAX_DELAY = 8.0

#: A provider that asks for a longer wait (in seconds) is not retried.
MAX_RETRY_AFTER = 30.0


class RetryingProvider:
    """A wrapper that adds timeouts and retries to a provider."""

    def __init__(self, provider: Provider, options: ProviderOptions) -> None:
        self.name = provider.name
        self.model = provider.model
        self._provider = provider
        self._first_token_timeout = options.llm_first_token_timeout_seconds
        self._silence_timeout = options.llm_silence_timeout_seconds
        self._max_retries = options.llm_max_retries

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Stream from the provider; retry if it fails before its first output."""
        with closing(Deadline(ProviderTimeout)) as deadline:
            for retries in range(self._max_retries + 1):
                call = _ModelCall(self.model, self._first_token_timeout)
                try:
                    async with aclosing(self._provider.stream(request)) as batches:
                        with deadline.at(call.due):
                            async for batch in batches:
                                if batch:
                                    deadline.suspend()
                                    yield batch
                                call.record(batch, self._silence_timeout)
                                deadline.at(call.due)
                    return
                except ProviderError as error:
                    delay = _retry_delay(error, retries)
                    if call.has_output or retries == self._max_retries or delay is None:
                        raise
                    logger.warning(
                        "model call failed: %s Retry in %.1f s.", error.message, delay
                    )
                await asyncio.sleep(delay)

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self._provider.aclose()


class _ModelCall:
    """The time limit of one model call, which times out after a long silence.

    Before the first output only output extends the limit. After it each batch does,
    also an empty one, such as the fragments of an incomplete tool call.
    """

    __slots__ = ("_clock", "_model", "_started", "due", "has_output")

    def __init__(self, model: str, first_token_timeout: float) -> None:
        self._model = model
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        #: The time of the timeout, by the event loop's clock.
        self.due = self._started + first_token_timeout
        self.has_output = False

    def record(self, batch: list[Delta], silence_timeout: float) -> None:
        """Extend the limit for a batch that has arrived."""
        # A token count alone is not output: a later count replaces it.
        if not self.has_output and any(
            not isinstance(delta, TokenUsage) for delta in batch
        ):
            self.has_output = True
            waited = (self._clock() - self._started) * 1000
            logger.debug("first output received: %s, %.0f ms", self._model, waited)
        if self.has_output:
            self.due = self._clock() + silence_timeout


def _retry_delay(error: ProviderError, retries: int) -> float | None:
    """Return the seconds until the next retry; None if a retry is useless."""
    if not error.retryable or (error.retry_after or 0.0) > MAX_RETRY_AFTER:
        return None
    if error.retry_after is not None:
        return error.retry_after
    longest = min(_FIRST_DELAY * (1 << retries), _MAX_DELAY)
    return longest * random.uniform(0.5, 1.0)
