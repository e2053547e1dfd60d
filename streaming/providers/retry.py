"""Deadlines and retries around a vendor's provider, the same for each of them."""

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

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0

#: Whom the provider asks to wait longer is told so at once.
LONGEST_RETRY_AFTER = 30.0


class RetryingProvider:
    """A provider that waits for another one: not for ever, and more than once."""

    def __init__(self, provider: Provider, options: ProviderOptions) -> None:
        self.name = provider.name
        self.model = provider.model
        self._provider = provider
        self._first_token_timeout = options.llm_first_token_timeout_seconds
        self._silence_timeout = options.llm_silence_timeout_seconds
        self._max_retries = options.llm_max_retries

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """As the provider's own; asks again when it fails before its first word."""
        with closing(Deadline(ProviderTimeout)) as deadline:
            for attempt in range(self._max_retries + 1):
                call = _Call(self.model, self._first_token_timeout)
                try:
                    async with aclosing(self._provider.stream(request)) as batches:
                        with deadline.at(call.due):
                            async for batch in batches:
                                if batch:
                                    deadline.suspend()
                                    yield batch
                                call.heed(batch, self._silence_timeout)
                                deadline.at(call.due)
                    return
                except ProviderError as error:
                    pause = _pause(error, attempt)
                    if call.has_spoken or attempt == self._max_retries or pause is None:
                        raise
                    logger.warning("%s Asking again in %.1f s.", error.message, pause)
                await asyncio.sleep(pause)

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self._provider.aclose()


class _Call:
    """One call of the model, given up once it is silent for too long.

    Until the first word only words count, then any sign of life does, such as the
    parts of a tool call that is not whole yet.
    """

    __slots__ = ("_clock", "_model", "_started", "due", "has_spoken")

    def __init__(self, model: str, first_token_timeout: float) -> None:
        self._model = model
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        #: When it is silent for too long, by the event loop's clock.
        self.due = self._started + first_token_timeout
        self.has_spoken = False

    def heed(self, batch: list[Delta], silence_timeout: float) -> None:
        """Take note of a sign of life."""
        if not self.has_spoken and _speaks(batch):
            self.has_spoken = True
            waited = (self._clock() - self._started) * 1000
            logger.debug("%s: first word after %.0f ms", self._model, waited)
        if self.has_spoken:
            self.due = self._clock() + silence_timeout


def _speaks(batch: list[Delta]) -> bool:
    """Whether it holds more than a token count, which a later one replaces."""
    return any(not isinstance(delta, TokenUsage) for delta in batch)


def _pause(error: ProviderError, attempt: int) -> float | None:
    """Seconds until the next attempt; None when it would be in vain."""
    if not error.retryable or (error.retry_after or 0.0) > LONGEST_RETRY_AFTER:
        return None
    if error.retry_after is not None:
        return error.retry_after
    longest = min(_FIRST_PAUSE * (1 << attempt), _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)
