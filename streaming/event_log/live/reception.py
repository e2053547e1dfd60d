"""The task of a live path that receives pieces, and connects again after failures."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sized

from streaming.aio.background import BackgroundTask

logger = logging.getLogger(__name__)

#: Pauses between two attempts to connect, in seconds, doubled each time.
LEAST_PAUSE, MOST_PAUSE = 0.1, 2.0


class Reception:
    """Calls `receive` until nothing is followed any more.

    `receive` offers pieces, calls `works` when it is connected, returns when nothing is
    followed, and raises one of `errors` when its connection fails.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[None]],
        followed: Sized,
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._receive = receive
        self._followed = followed
        self._errors = errors
        self._task = BackgroundTask(self._receive_forever)
        self.failing = False
        #: Set when the first attempt has succeeded or failed.
        self.tried = asyncio.Event()

    def ensure(self) -> None:
        """Start to receive, if that is not so yet."""
        self._task.ensure()

    def works(self) -> None:
        """Note that pieces arrive; the end of a failure is logged."""
        if self.failing:
            logger.info("live path received again")
        self.failing = False
        self.tried.set()

    async def aclose(self) -> None:
        """Receive no more."""
        await self._task.aclose()

    async def _receive_forever(self) -> None:
        pause = LEAST_PAUSE
        while self._followed:
            try:
                await self._receive()
                pause = LEAST_PAUSE
            except Exception as error:  # it must go on: all readers here depend on it
                self._note_failure(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MOST_PAUSE)
        self.tried.clear()

    def _note_failure(self, error: Exception) -> None:
        """Log the first failure; the text of an expected one may quote events."""
        if not self.failing and isinstance(error, self._errors):
            logger.warning("live path not received: %s", type(error).__name__)
        elif not self.failing:
            logger.error("live path not received", exc_info=error)
        self.failing = True
        self.tried.set()
