"""Several models in the place of one: the first that is available answers.

A model is unavailable if it is overloaded, limits the rate of requests, cannot be
reached, or does not accept its key or its name. Another model may answer then. A
request that a model refuses for its content goes to no other model: the fault is in the
request, and each further model would see it too.
"""

import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from streaming.exceptions import ProviderError
from streaming.providers.base import (
    Delta,
    ExchangesDropped,
    ModelRequest,
    ModelSelected,
    Provider,
    TokenUsage,
)

logger = logging.getLogger(__name__)

#: A model that has failed is called after the others for so long, in seconds. A failure
#: that took longer, or that names a longer wait, counts for as long as that, up to the
#: maximum. Without this memory each run would wait for the retries of the same model.
MEMORY_SECONDS = 10.0
MAX_MEMORY_SECONDS = 60.0


class FallbackProvider:
    """A provider of several models, in the order of preference.

    If a model fails before its first output, after its own retries, the next one is
    called. Once there is output, the response is never begun anew.
    """

    def __init__(
        self, models: Sequence[Provider], memory_seconds: float = MEMORY_SECONDS
    ) -> None:
        self.name = models[0].name
        self.model = models[0].model
        self.models = models
        self._memory_seconds = memory_seconds
        #: The time until which a model is called after the others, by its position.
        self._failed_until = [0.0] * len(models)

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Call the first model that is available."""
        return self.for_run().stream(request)

    def for_run(self) -> "RunModels":
        """Return the models for the calls of one run."""
        return RunModels(self)

    def order(self) -> list[int]:
        """Return the positions of the models, those that have just failed last."""
        now = time.monotonic()
        positions = range(len(self.models))
        return sorted(positions, key=lambda n: self._failed_until[n] > now)

    def answered(self, position: int) -> None:
        """Forget the last failure of a model."""
        self._failed_until[position] = 0.0

    def failed(self, position: int, error: ProviderError, started: float) -> None:
        """Remember the failure of a call that began at `started`."""
        now = time.monotonic()
        longest = max(self._memory_seconds, now - started, error.retry_after or 0.0)
        self._failed_until[position] = now + min(longest, MAX_MEMORY_SECONDS)

    async def aclose(self) -> None:
        """Close the connections of all models."""
        for model in self.models:
            await model.aclose()


class RunModels:
    """The models of one run, which stays with the one that has answered."""

    def __init__(self, provider: FallbackProvider) -> None:
        self.name = provider.name
        self.model = provider.model
        self._provider = provider
        #: The position of the model that gave the newest response.
        self._current: int | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Call the models, the one that has answered before first, until one answers.

        Raises the error of the first model, or one after which the same request may
        succeed later.
        """
        errors: list[ProviderError] = []
        order = self._provider.order()
        for position in sorted(order, key=lambda n: n != self._current):
            model = self._provider.models[position]
            origin = getattr(model, "origin", "")
            if errors:
                logger.warning("model switched: %s %s", model.name, model.model)
            yield [ModelSelected(model.name, model.model, origin, bool(errors))]
            has_output = False
            started = time.monotonic()
            try:
                async with aclosing(model.stream(request)) as batches:
                    async for batch in batches:
                        if not has_output and any(map(_is_output, batch)):
                            has_output = True
                            self._current = position
                            self._provider.answered(position)
                        yield batch
                return
            except ProviderError as error:
                if has_output or error.has_output or not is_unavailable(error):
                    raise
                self._current = None
                self._provider.failed(position, error, started)
                _report(model, error)
                errors.append(error)
        raise next((error for error in errors if error.retryable), errors[0])

    async def aclose(self) -> None:
        """Close nothing: the connections belong to all runs."""


def for_run(provider: Provider) -> Provider:
    """Return a provider for the calls of one run."""
    return provider.for_run() if isinstance(provider, FallbackProvider) else provider


def is_unavailable(error: ProviderError) -> bool:
    """Return True if another model may answer the request that failed."""
    return error.retryable or error.unavailable


def _is_output(delta: Delta) -> bool:
    match delta:
        case TokenUsage():
            return delta.reasoning_tokens > 0
        case ExchangesDropped():
            return False
    return True


def _report(model: Provider, error: ProviderError) -> None:
    """Log the failure of a model: as an error if it will not pass by itself."""
    level = logging.WARNING if error.retryable else logging.ERROR
    logger.log(
        level,
        "model unavailable: %s %s: %s (%s)",
        model.name,
        model.model,
        error.message,
        error.code,
    )
