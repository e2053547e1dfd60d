"""The response of an event stream, and its place among the open streams."""

from collections.abc import AsyncGenerator, Callable

from django.http import HttpRequest, StreamingHttpResponse


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

    def release_request(self, request: HttpRequest) -> None:
        """Forget the request, which else would be kept as long as the stream."""
        self._resource_closers.remove(request.close)
        request.close()

    def has_header(self, header: str) -> bool:
        """Say that there is an encoding, so that no middleware adds one.

        GZipMiddleware would make each frame a gzip member of its own, and clients
        show only the first.
        """
        return header.lower() == "content-encoding" or super().has_header(header)
