"""Requests that come through another application than `make_application()`.

A project may be served by Django's own ASGI application, which knows nothing of the
start and the end of its server, or by WSGI, where each request has an event loop of its
own. Runs need one event loop that lasts, and a shutdown that waits for them.
"""

import asyncio
import atexit
import itertools
import os
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import ThreadSensitiveContext
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from streaming import conf, runs
from streaming.auth.requests import announced_size
from streaming.server.clients import CONNECTION, scope_of
from streaming.server.handler import RequestThread
from streaming.server.servers import termination_by_parent
from streaming.server.shutdown import Shutdown

T = TypeVar("T")

#: Time limit of the end of the runs when the process ends.
EXIT_SECONDS = 10.0


async def respond_in_app_loop(
    request: HttpRequest, response: Coroutine[Any, Any, T]
) -> T:
    """Await the response to a request, in an event loop that runs can use."""
    scope = scope_of(request)
    if not scope:
        _receive_body(request)
        return await _background_loop().wait_for(response)
    if CONNECTION not in scope:
        _drain_at_shutdown.follow_running_loop()
    return await response


def _receive_body(request: HttpRequest) -> None:
    """Receive a body of acceptable size in the thread of its request, under WSGI.

    A client that sends slowly would otherwise block the event loop of all runs. The
    endpoint refuses a too large body without reading it.
    """
    if announced_size(request) <= conf.get().agent_max_body_bytes:
        with suppress(RequestDataTooBig):  # a limit of the project for its forms
            request.body  # noqa: B018  (Django keeps it)


class HostShutdown(Shutdown):
    """The shutdown of a server that runs another ASGI application.

    A signal begins the drain, or the event that workers of hypercorn have of their
    parent. daphne ends its event loop before the runs: they end when the process does.
    """

    _is_chained = False
    _closes_at_exit = False

    def follow_running_loop(self) -> None:
        """Drain the runs of the running event loop at the shutdown of its server."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        self._loop = loop
        self._draining = self._closing = False
        self._drain_seconds = conf.get().drain_seconds
        self._is_chained = self._is_chained or self.chain_signals()
        if wait := termination_by_parent():
            self._create_task(self._drain_when_terminated(wait))
        if not self._closes_at_exit:
            self._closes_at_exit = True
            atexit.register(self._close_at_exit)

    def _close_at_exit(self) -> None:
        """Close the runs of an event loop that runs in a thread, or has stopped."""
        loop = self._loop
        if loop is None or loop.is_closed() or self._closing:
            return
        if loop.is_running():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._stop(), loop).result(
                    EXIT_SECONDS
                )
        else:
            loop.run_until_complete(self._stop())

    async def _stop(self) -> None:
        """Stop the runs without a drain, which the server did not wait for."""
        for task in self._tasks:
            task.cancel()
        await runs.get_service().drain(0.0)
        await self._close()

    async def _drain(self) -> None:
        await super()._drain()
        if not self._closing:  # no server reports the end to this application
            await self._close()


class BackgroundLoop:
    """An event loop on a thread of its own, for the runs of a WSGI process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._threads = itertools.cycle(
            [RequestThread(1, f"wsgi-{at}") for at in range(conf.get().request_threads)]
        )
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="wsgi-runs", daemon=True
        )
        self._thread.start()

    async def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` in this loop, with the caller's context variables."""
        called = self._call(work, next(self._threads))
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(called, self._loop)
        )

    def close(self) -> None:
        """Drain the runs, then end the loop."""
        asyncio.run_coroutine_threadsafe(runs.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _call(self, work: Coroutine[Any, Any, T], thread: RequestThread) -> T:
        async with ThreadSensitiveContext(executor=thread):
            return await work


def close_background_loop() -> None:
    """Drain the runs of a WSGI process; called at its end."""
    global _loop
    with _starting:
        loop, _loop = _loop, None
    if loop and loop.process == os.getpid():
        loop.close()


_drain_at_shutdown = HostShutdown(0.0)
_loop: BackgroundLoop | None = None
_starting = threading.Lock()


def _background_loop() -> BackgroundLoop:
    """Return the loop of this process, which a fork does not copy."""
    global _loop
    with _starting:
        if _loop is None or _loop.process != os.getpid():
            _loop = BackgroundLoop()
            atexit.register(close_background_loop)
        return _loop
