"""HTTP's side of things: endpoints, JSON errors, the event-stream response."""

import functools
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine
from typing import Any, Concatenate, ParamSpec

import msgspec
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from streaming import conf, limits, runs
from streaming.events import ALWAYS_SENT, Connected, ConnectedInfo
from streaming.exceptions import (
    AgentError,
    ConversationBusy,
    FieldError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    UnsupportedMediaType,
    database_away,
)
from streaming.models import Run
from streaming.wire import native, sse

logger = logging.getLogger(__name__)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]

#: What a client waits before it comes back after a broken connection.
RETRY_MS = 1000
RETRY_AFTER_SECONDS = 5


def endpoint(*methods: str, any_host: bool = False) -> Callable[[View[P]], View[P]]:
    """Make a view an API endpoint: its methods, and every error as JSON.

    Only `ALLOWED_HOSTS` are served, or another site could point its own name here and
    read what its visitors' browsers get; `any_host` is for probes, which use addresses.

    No CSRF token is asked for, since no cookie gives any right here and a JSON body
    cannot come from another site's form.
    """
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: View[P]) -> View[P]:
        @csrf_exempt
        @functools.wraps(view)
        async def call(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            try:
                if not any_host:
                    request.get_host()
                if request.method not in allowed:
                    raise MethodNotAllowed(request.method or "", allowed)
                return await view(request, *args, **kwargs)
            except AgentError as error:
                return error_response(error)
            except DisallowedHost:
                return error_response(unknown_host())
            except SuspiciousOperation:
                detail = FieldError("request", "has too many or too large parts")
                return error_response(InvalidRequest([detail]))
            except (InterfaceError, OperationalError) as error:
                logger.warning("%s %s: %s", request.method, request.path, error)
                return error_response(database_away())
            except Exception:  # the last resort: else Django would answer in HTML
                logger.exception("%s %s failed", request.method, request.path)
                return error_response(InternalError())

        return call

    return decorate


def unknown_host() -> InvalidRequest:
    """The error of a request for a host name that is not ours."""
    message = "is not a name of this server (ALLOWED_HOSTS lists them)"
    return InvalidRequest([FieldError("Host", message)])


def json_response(data: object, status: int = 200) -> HttpResponse:
    """JSON, compact, never cached, never sniffed."""
    return HttpResponse(
        msgspec.json.encode(data),
        content_type="application/json",
        status=status,
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def error_response(error: AgentError) -> HttpResponse:
    """The contract's JSON error."""
    body: dict[str, Any] = {"error": error.message, "code": error.code}
    if isinstance(error, InvalidRequest):
        body["details"] = [detail._asdict() for detail in error.details]
    if isinstance(error, ConversationBusy):
        body["run_id"] = error.run_id
    response = json_response(body, error.status)
    if isinstance(error, MethodNotAllowed):
        response["Allow"] = ", ".join(error.allowed)
    if error.status in (429, 503) or error.retry_after is not None:
        seconds = error.retry_after or RETRY_AFTER_SECONDS
        response["Retry-After"] = str(math.ceil(seconds))
    return response


def read_json_body(request: HttpRequest) -> bytes:
    """The body of a JSON request. Raises `UnsupportedMediaType`."""
    if request.content_type != "application/json":
        raise UnsupportedMediaType
    return request.read()


def hold_stream(request: HttpRequest) -> None:
    """Count a request as an open stream until it ends. Raises `TooManyStreams`."""
    limits.hold_stream(getattr(request, "scope", {}))


class EventStream(StreamingHttpResponse):
    """A `text/event-stream` that leaves as it is made."""

    _iterator: AsyncGenerator[bytes]  #: Django's: the frames, unless wrapped meanwhile
    _resource_closers: list[Callable[[], object]]  #: Django's, closed at the end

    def __init__(self, frames: AsyncGenerator[bytes], run_id: str) -> None:
        super().__init__(
            frames,
            content_type="text/event-stream; charset=utf-8",
            headers={
                "Cache-Control": "no-cache, no-transform",
                "X-Accel-Buffering": "no",
                "X-Run-Id": run_id,
            },
        )

    def __aiter__(self) -> AsyncGenerator[bytes]:
        """The frames themselves, so that who closes this closes them.

        Django's wrapping of them would leave that to the garbage collector.
        """
        return self._iterator

    def let_go(self, request: HttpRequest) -> None:
        """Forget the request, which else would be kept as long as the stream."""
        self._resource_closers.remove(request.close)
        request.close()

    def has_header(self, header: str) -> bool:
        """Say that there is an encoding, so that no middleware adds one.

        GZipMiddleware would make each frame a gzip member of its own, and clients
        show only the first.
        """
        return header.lower() == "content-encoding" or super().has_header(header)


async def follow(
    run: Run, after: int, only: Collection[str] | None, *, resumed: bool = False
) -> AsyncGenerator[bytes]:
    """The frames of a run after a number, `connected` first.

    What is ready for a reader goes out in one piece, so that one who is behind
    catches up in few sends.
    """
    yield _connected(run, after if resumed else None)
    run_id = run.id
    del run  # nothing needs its row for as long as the stream is open
    types = None if only is None else ALWAYS_SENT | set(only)
    heartbeat, sent_at = conf.get().heartbeat, time.monotonic()
    async with runs.executor().following(run_id, after) as batches:
        async for batch in batches:
            if frames := [e.frame for e in batch if not types or e.type in types]:
                chunk = b"".join(frames)
            elif not batch or time.monotonic() - sent_at >= heartbeat:
                chunk = sse.KEEP_ALIVE
            else:
                continue  # all filtered out, and not silent for long
            sent_at = time.monotonic()
            yield chunk


def _connected(run: Run, resumed_after: int | None) -> bytes:
    info = ConnectedInfo(
        agent=conf.get().name,
        run_id=run.id,
        org_id=run.organization.org_id,
        conversation_id=run.conversation.conversation_id,
        provider=run.provider,
        model=run.model,
        resumed_after=msgspec.UNSET if resumed_after is None else resumed_after,
    )
    data = native.encode(Connected(metadata=info))
    return sse.frame("connected", data, retry_ms=RETRY_MS)
