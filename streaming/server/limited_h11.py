"""A connection of h11 with a limit on the size of heads."""

from collections.abc import Iterable

import h11

from streaming.exceptions import HeadTooLarge

Headers = Iterable[tuple[bytes, bytes]]


class LimitedH11(h11.Connection):
    """A connection of h11 that also limits a head that arrives at once."""

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._max_head_bytes = max_head_bytes
        self.too_large = False
        #: The request whose head is too large, if it arrived at once.
        self.refused: h11.Request | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event. Raises `RemoteProtocolError` for a large head too."""
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.too_large = error.error_status_hint == HeadTooLarge.status
            raise
        if (
            isinstance(event, h11.Request)
            and head_size(event.target, event.headers) > self._max_head_bytes
        ):
            self.too_large, self.refused = True, event
            raise h11.RemoteProtocolError("head too large", HeadTooLarge.status)
        return event


def head_size(target: bytes, headers: Headers) -> int:
    """Return the bytes of a head, without the separators of its parts."""
    return len(target) + sum([len(name) + len(value) for name, value in headers])
