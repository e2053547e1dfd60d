"""Timeouts and retries around a vendor's provider, the same for each vendor."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing

from streaming.aio.deadline import Deadline
from streaming.exceptions import ProviderError, ProviderTimeout
from streaming.providers.adaptation import Adaptation, is_policy_refusal
from streaming.providers.base import (
    AdaptiveProvider,
    Delta,
    ExchangesDropped,
    ModelRequest,
    OutputBegun,
    Provider,
    ProviderOptions,
    ResponseEnd,
    TokenUsage,
)
from streaming.providers.context_budget import ContextBudget
from streaming.providers.errors import EMPTY
from streaming.providers.output import describe_output
from streaming.telemetry.metrics import PROVIDER_ERRORS

logger = logging.getLogger(__name__)

#: Backoff in seconds: before the first retry, and at most.
_FIRST_DELAY = 0.5
_MAX_DELAY = 8.0

#: A provider that asks for a longer wait (in seconds) is not retried.
MAX_RETRY_AFTER = 30.0


class RetryingProvider:
    """A wrapper that adds timeouts and retries to a provider.

    A request that exceeds the known context window is sent without its oldest
    exchanges. A refused one is built anew without its cause, if the provider can learn
    that, or without its oldest exchanges, if it was too long: no retry is counted.
    """

    def __init__(self, provider: Provider, options: ProviderOptions) -> None:
        self.name = provider.name
        self.model = provider.model
        self.origin = getattr(provider, "origin", "")
        self._provider = provider
        self._takes_output = getattr(provider, "takes_output", False)
        # Looked up once: this check compares all attributes, which takes 20 µs.
        self._adaptive = provider if isinstance(provider, AdaptiveProvider) else None
        self._budget = ContextBudget(provider.model, options)
        self._first_token_timeout = options.llm_first_token_timeout_seconds
        self._silence_timeout = options.llm_silence_timeout_seconds
        self._response_timeout = options.llm_response_timeout_seconds
        self._max_retries = options.llm_max_retries

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Stream from the provider; retry if it fails before its first output."""
        retries = 0
        if not self._takes_output:
            request = describe_output(request, by_schema=False)
        adaptation = Adaptation(self._adaptive, request, self._budget)
        with closing(Deadline(ProviderTimeout)) as deadline:
            while True:
                call = _ModelCall(
                    self.model, self._first_token_timeout, self._response_timeout
                )
                request = adaptation.next_request()
                input_tokens = 0
                try:
                    if adaptation.dropped:
                        yield [ExchangesDropped(adaptation.dropped)]
                    async with aclosing(self._provider.stream(request)) as batches:
                        with deadline.at(call.due):
                            async for batch in batches:
                                if not call.has_output:
                                    batch = call.begin(batch, request)
                                if batch:
                                    if isinstance(batch[-1], TokenUsage):
                                        input_tokens = batch[-1].input_tokens
                                    deadline.suspend()
                                    yield batch
                                call.extend(self._silence_timeout)
                                deadline.at(call.due)
                    adaptation.accepted(input_tokens)
                    return
                except ProviderError as error:
                    PROVIDER_ERRORS.add(1, self.name, self.model, error.code)
                    if call.has_output:
                        error.has_output = True
                        raise
                    if await adaptation.adapt(error):
                        continue
                    if is_policy_refusal(error):
                        yield [ResponseEnd("refusal")]
                        return
                    delay = _retry_delay(error, retries)
                    if retries == self._max_retries or delay is None:
                        raise
                    logger.warning(
                        "model call failed: %s Retry in %.1f s.", error.message, delay
                    )
                await asyncio.sleep(delay)
                retries += 1

    async def aclose(self) -> None:
        """Close the provider's connections."""
        await self._provider.aclose()


class _ModelCall:
    """The time limit of one model call, which times out after a long silence.

    Before the first output only output extends the limit. After it each batch does,
    also an empty one, such as the fragments of an incomplete tool call, up to the
    maximum duration of a response.
    """

    __slots__ = ("_clock", "_ends", "_model", "_started", "due", "has_output")

    def __init__(
        self, model: str, first_token_timeout: float, response_timeout: float
    ) -> None:
        self._model = model
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._ends = self._started + response_timeout
        #: The time of the timeout, by the event loop's clock.
        self.due = min(self._started + first_token_timeout, self._ends)
        self.has_output = False

    def begin(self, batch: list[Delta], request: ModelRequest) -> list[Delta]:
        """Look for the first output in a batch; return the batch without its mark.

        Raises `ProviderError` if the response ends without the output that it needs.
        """
        for delta in batch:
            match delta:
                case TokenUsage():
                    # Other counts are not output: a later count replaces them.
                    self.has_output |= delta.reasoning_tokens > 0
                case ResponseEnd(reason):
                    is_regular = reason == "refusal" or (
                        reason == "end_turn" and request.may_end_empty
                    )
                    if not self.has_output and not is_regular:
                        raise ProviderError(EMPTY, retryable=True)
                case _:
                    self.has_output = True
        if self.has_output:
            waited = (self._clock() - self._started) * 1000
            logger.debug("first output received: %s, %.0f ms", self._model, waited)
        return [delta for delta in batch if not isinstance(delta, OutputBegun)]

    def extend(self, silence_timeout: float) -> None:
        """Extend the limit for a batch that has arrived."""
        if self.has_output:
            self.due = min(self._clock() + silence_timeout, self._ends)


def _retry_delay(error: ProviderError, retries: int) -> float | None:
    """Return the seconds until the next retry; None if a retry is useless."""
    if not error.retryable or (error.retry_after or 0.0) > MAX_RETRY_AFTER:
        return None
    if error.retry_after is not None:
        return error.retry_after
    longest = min(_FIRST_DELAY * (1 << retries), _MAX_DELAY)
    return longest * random.uniform(0.5, 1.0)
