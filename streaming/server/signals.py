"""Django's request signals, sent without a thread hop for Django's own receivers.

Django connects five functions of its own to `request_started` and `request_finished`,
for the database connections, the caches and the URLconf of a request. They are
synchronous, so Django calls them in a thread, twice for each request (0.1 ms each), and
an API request has no use for it. Here each `RequestThread` looks after its own
connections, the handler closes the caches, and each request has its own context and
with it a URLconf. The signals are therefore sent to the other receivers only. Nothing
is disconnected: other code sends and receives both signals as in any Django project.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http.response import HttpResponseBase

Receiver = Callable[..., Any]

#: The functions that Django itself connects to each of the signals.
HOUSEKEEPING: dict[Signal, frozenset[Receiver]] = {
    request_started: frozenset({reset_queries, close_old_connections}),
    request_finished: frozenset({close_old_connections, close_caches, reset_urlconf}),
}


class RequestSignal:
    """One of Django's request signals, for all receivers but Django's own."""

    def __init__(self, signal: Signal, sender: type) -> None:
        self._signal = signal
        self._sender = sender
        self._excluded = HOUSEKEEPING[signal]
        #: The signal's entries at a time when none of them was called here.
        self._idle_entries: list[object] | None = None

    async def send(
        self,
        thread: Executor,
        before: Callable[[], object] | None = None,
        **named: object,
    ) -> None:
        """Call synchronous receivers in `thread`, in one hop, asynchronous ones here.

        `before` is called first: in the same hop, or here if there is none.
        """
        in_thread, on_loop = self._receivers()
        if not in_thread and before:
            before()
        if not in_thread and not on_loop:
            return
        named |= {"signal": self._signal, "sender": self._sender}
        async with ThreadSensitiveContext(executor=thread):
            if in_thread:
                await sync_to_async(_call)(before, in_thread, named)
            await asyncio.gather(*(receiver(**named) for receiver in on_loop))

    def _receivers(self) -> tuple[list[Receiver], list[Receiver]]:
        # Usually there are none: comparing the entries takes a tenth of resolving them.
        if self._signal.receivers == self._idle_entries:
            return [], []
        entries = list(self._signal.receivers)
        synchronous, asynchronous = self._signal._live_receivers(self._sender)
        excluded = self._excluded
        in_thread = [each for each in synchronous if each not in excluded]
        if not in_thread and not asynchronous:
            self._idle_entries = entries
        return in_thread, asynchronous


def close_without_signal(response: HttpResponseBase) -> None:
    """Close a response as `HttpResponseBase.close` does, but send no signal.

    `close` sends `request_finished` to all receivers, from the calling thread.
    """
    closers = response._resource_closers  # type: ignore[attr-defined]
    for close in closers:
        with suppress(Exception):  # as in Django: each of them must be called
            close()
    closers.clear()
    response.closed = True


def sends_signal_itself(response: HttpResponseBase) -> bool:
    """Return true if the response's class has a `close` of its own."""
    return type(response).close is not HttpResponseBase.close


def _call(
    before: Callable[[], object] | None,
    receivers: list[Receiver],
    named: dict[str, object],
) -> None:
    if before:
        before()
    for receiver in receivers:
        receiver(**named)
