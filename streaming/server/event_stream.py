"""The response of an event stream."""

from collections.abc import AsyncGenerator, Callable

from django.http import HttpRequest, StreamingHttpResponse


class EventStream(StreamingHttpResponse):
    """A `text/event-stream` whose frames are sent as soon as they are made."""

    _iterator: AsyncGenerator[bytes]  #: Django's: the frames, or a middleware's wrapper
    _resource_closers: list[Callable[[], object]]  #: Django's: called by `close`

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
        """Return the generator of the frames, so that closing the result closes it.

        Django's generator around it would leave that to the garbage collector.
        """
        return self._iterator

    def release_request(self, request: HttpRequest) -> None:
        """Close the request, which would otherwise stay in memory with the stream."""
        self._resource_closers.remove(request.close)
        request.close()

    def has_header(self, header: str) -> bool:
        """Claim a `Content-Encoding`, so that no middleware compresses the stream.

        GZipMiddleware would make each frame a gzip member of its own, and clients show
        only the first.
        """
        return header.lower() == "content-encoding" or super().has_header(header)
