"""Django's handler of requests, at the least cost.

Django calls the receivers of its signals in a thread, twice a request, to look after
the database connections of that thread; an API request uses none. Here the threads
look after their own, and no request waits for one that it has no use for.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from functools import partial
from io import BytesIO
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.cache import close_caches
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from streaming.exceptions import BodyTooLarge
from streaming.server import clients
from streaming.server.clients import Receive, Scope, Send
from streaming.server.event_stream import EventStream
from streaming.storage import database
from streaming.storage.threads import DaemonThreads

P = ParamSpec("P")
T = TypeVar("T")

#: What Django connects for the threads and contexts of requests. Here each thread is
#: looked after where it is used, and each request has a context of its own.
HOUSEKEEPING: list[tuple[Signal, Callable[..., object]]] = [
    (request_started, reset_queries),
    (request_started, close_old_connections),
    (request_finished, close_old_connections),
    (request_finished, close_caches),
    (request_finished, reset_urlconf),
]


class RequestThread(DaemonThreads):
    """A thread in which requests' sync code finds no connection too old or broken."""

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call `fn` when it is its turn."""
        return super().submit(
            partial(database.with_fresh_connection, fn, *args, **kwargs)
        )


class Handler(ASGIHandler):
    """Requests share `threads` long-lived threads for their sync code, in turn.

    Django starts one for each request, and an open stream would hold one.
    """

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = itertools.cycle(
            [RequestThread(1, f"sync-{at}") for at in range(threads)]
        )
        for signal, receiver in HOUSEKEEPING:
            signal.disconnect(receiver)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and stop when its client has gone."""
        try:
            body = await clients.read_body(scope, receive)
        except BodyTooLarge as error:
            return await clients.refuse(error, send)
        if body is None:
            return
        thread = next(self._threads)
        response: HttpResponseBase | None = None
        try:
            async with _while_connected(receive):
                async with ThreadSensitiveContext(executor=thread):
                    response = await self._respond(scope, BytesIO(body))
                    del body
                    if not isinstance(response, EventStream):
                        await self.send_response(response, send)
                # It may be open for hours, and needs nothing of all that.
                if isinstance(response, EventStream):
                    await self._send_stream(response, send)
        finally:
            await self._finish(response, thread)

    async def _respond(self, scope: Scope, body: BytesIO) -> HttpResponseBase:
        """The response to a request. An event stream does not hold on to it."""
        set_script_prefix(get_script_prefix(scope))
        await request_started.asend(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        if request is None:
            assert refusal
            return refusal
        response: HttpResponseBase = await self.run_get_response(request)
        if isinstance(response, EventStream):
            response.release_request(request)
        return response

    async def _send_stream(self, response: EventStream, send: Send) -> None:
        """As Django does, but keep no headers, and make no generator of each chunk."""
        await send(_head(response))
        async with aclosing(aiter(response)) as chunks:
            async for chunk in chunks:
                # In pieces: a client that takes nothing of one for long is let go.
                for start in range(0, len(chunk), self.chunk_size):
                    piece = chunk[start : start + self.chunk_size]
                    await send(_body(piece, more=True))
        await send(_body(b"", more=False))

    async def _finish(
        self, response: HttpResponseBase | None, thread: RequestThread
    ) -> None:
        """Close what is open, and tell who wants to know of each request's end."""
        close_caches()
        if not request_finished.has_listeners(type(self)):
            if response is not None:
                response.close()
            return
        async with ThreadSensitiveContext(executor=thread):
            if response is not None:
                await sync_to_async(response.close)()
            else:
                await request_finished.asend(sender=type(self))


def _body(data: bytes, *, more: bool) -> Mapping[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _head(response: EventStream) -> Mapping[str, Any]:
    cookies = [("Set-Cookie", c.OutputString()) for c in response.cookies.values()]
    headers = [
        (name.encode(), value.encode("latin-1"))
        for name, value in (*response.items(), *cookies)
    ]
    status = response.status_code
    return {"type": "http.response.start", "status": status, "headers": headers}


@asynccontextmanager
async def _while_connected(receive: Receive) -> AsyncIterator[None]:
    """Cancel the block when the client goes, and leave it quietly then."""
    task = asyncio.current_task()
    assert task
    gone = False

    async def watch() -> None:
        nonlocal gone
        await receive()  # nothing but the client's going can follow the body
        gone = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone or task.cancelling() > 1:  # else nobody but us has cancelled it
            raise
    finally:
        watching.cancel()
        if gone:  # even if the block took no notice
            task.uncancel()
