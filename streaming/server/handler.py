"""Django's request handler with as few threads and thread hops as possible.

Django starts two threads for each request, and an open stream holds one of them: 500
idle streams are 502 threads. Here requests share a few long-lived threads, which makes
17 threads of them, takes 24 kB for a stream and serves 2 to 3.6 times the requests a
second. A request that runs no synchronous code uses no thread at all.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.cache import close_caches
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_finished, request_started
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from streaming.exceptions import AgentError, FieldError, InvalidRequest
from streaming.server.body import BodyMemory, RequestBody, receive_body, refuse
from streaming.server.clients import Receive, Scope, Send
from streaming.server.event_stream import EventStream
from streaming.server.refusals import refusal
from streaming.server.signals import (
    RequestSignal,
    close_without_signal,
    sends_signal_itself,
)
from streaming.storage.connections import with_fresh_connection
from streaming.storage.threads import DaemonThreads

P = ParamSpec("P")
T = TypeVar("T")


class RequestThread(DaemonThreads):
    """A thread for the synchronous code of requests, without stale connections."""

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call `fn` after the calls submitted before it."""
        return super().submit(partial(with_fresh_connection, fn, *args, **kwargs))


class Handler(ASGIHandler):
    """Serves requests, which share `threads` long-lived threads in turn."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = itertools.cycle(
            [RequestThread(1, f"sync-{at}") for at in range(threads)]
        )
        self._bodies = BodyMemory()
        self._started = RequestSignal(request_started, type(self))
        self._finished = RequestSignal(request_finished, type(self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request; stop when its client disconnects."""
        try:
            if not scope["path"].startswith("/"):  # as in `OPTIONS *`, `CONNECT host`
                raise InvalidRequest([FieldError("URL", "must be or have a path")])
            body = await receive_body(scope, receive, self._bodies)
        except AgentError as error:
            return await refuse(error, scope, receive, send)
        if body is None:
            return
        thread = next(self._threads)
        response: HttpResponseBase | None = None
        try:
            async with _while_connected(receive):
                async with ThreadSensitiveContext(executor=thread):
                    response = await self._respond(scope, body, thread)
                    if not isinstance(response, EventStream):
                        await self.send_response(response, send)
                # Outside of the request's context, so that a stream that is open for
                # hours does not keep the request's resources alive.
                if isinstance(response, EventStream):
                    body.close()
                    await self._send_stream(response, scope["method"], send)
        finally:
            body.close()
            await self._finish(response, thread)

    async def _respond(
        self, scope: Scope, body: RequestBody, thread: RequestThread
    ) -> HttpResponseBase:
        """Return the response to a request; an event stream holds no request."""
        set_script_prefix(get_script_prefix(scope))
        await self._started.send(thread, scope=scope)
        request, _ = self.create_request(scope, body)
        if request is None:  # Django's response is an empty page
            invalid = InvalidRequest([FieldError("URL", "is not valid UTF-8")])
            status, headers, content = refusal(invalid, scope)
            return HttpResponse(content, status=status, headers=headers)
        response: HttpResponseBase = await self.run_get_response(request)
        if isinstance(response, EventStream):
            response.release_request(request)
        return response

    async def _send_stream(
        self, response: EventStream, method: str, send: Send
    ) -> None:
        """Send a stream as `send_response` does, but keep no headers in memory.

        `send_response` also makes a generator of each chunk, at each delta. The
        response to HEAD has no body, and does not wait for the end of the run.
        """
        await send(_head(response))
        async with aclosing(aiter(response)) as chunks:
            if method == "HEAD":
                return await send(_body(b"", more=False))
            async for chunk in chunks:
                # In pieces: the send timeout holds for each of them.
                for start in range(0, len(chunk), self.chunk_size):
                    piece = chunk[start : start + self.chunk_size]
                    await send(_body(piece, more=True))
        await send(_body(b"", more=False))

    async def _finish(
        self, response: HttpResponseBase | None, thread: RequestThread
    ) -> None:
        """Close the caches and the response, and send `request_finished` once."""
        close_caches()
        if response is None:
            await self._finished.send(thread)
        elif sends_signal_itself(response):
            async with ThreadSensitiveContext(executor=thread):
                await sync_to_async(response.close)()
        else:
            await self._finished.send(thread, partial(close_without_signal, response))


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
    """Cancel the block when the client disconnects, and then leave it quietly.

    Django instead runs each request in two tasks more.
    """
    task = asyncio.current_task()
    assert task
    disconnected = False

    async def watch() -> None:
        nonlocal disconnected
        await receive()  # after the body, only a disconnect can follow
        disconnected = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # Another cancellation, as by the server at shutdown, is passed on.
        if not disconnected or task.cancelling() > 1:
            raise
    finally:
        watching.cancel()
        if disconnected:  # even if the block swallowed the cancellation
            task.uncancel()
