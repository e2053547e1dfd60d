"""Our own wire format: an event as JSON, and as the frame that carries it."""

import msgspec

from streaming.events import BaseEvent
from streaming.wire import sse

_encoder = msgspec.json.Encoder()

# Clients that split a stream into lines by Unicode's rules would cut data at these.
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
_SEPARATORS_START = b"\xe2\x80"

_TYPE_START = len(b'{"type":"')


def encode(event: BaseEvent) -> bytes:
    """The event's JSON: compact, UTF-8, one line."""
    data = _encoder.encode(event)
    if _SEPARATORS_START in data:
        for separator, escape in _SEPARATORS:
            data = data.replace(separator, escape)
    return data


def type_of(data: bytes) -> str:
    """The event type of encoded data, which begins with it."""
    return data[_TYPE_START : data.index(b'"', _TYPE_START)].decode()


def event_id(run_id: str, number: int) -> str:
    """How clients name an event."""
    return f"{run_id}:{number}"


def frame(run_id: str, number: int, type: str, data: bytes) -> bytes:
    """A logged event as it goes out."""
    return sse.frame(type, data, id=event_id(run_id, number))
