"""Our own wire format: an event as JSON, and as the frame that carries it."""

from collections.abc import Sequence

import msgspec

from streaming.events import BaseEvent

_encoder = msgspec.json.Encoder()

# Clients that split a stream into lines by Unicode's rules would cut data at these.
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
_SEPARATORS_START = b"\xe2\x80"

_TYPE_START = len(b'{"type":"')

# As `sse.frame` has it, in one step: each event of each run comes by here.
_TYPE, _DATA, _END = b"\nevent: ", b"\ndata: ", b"\n\n"
_FRAME = b"id: %b:%d" + _TYPE + b"%b" + _DATA + b"%b" + _END
_DONE = _TYPE + b"done" + _DATA


def encode(event: BaseEvent) -> bytes:
    """The event's JSON: compact, UTF-8, one line."""
    return encode_all([event])[0]


def encode_all(events: Sequence[BaseEvent]) -> list[bytes]:
    """The JSON of each event."""
    lines = _encoder.encode_lines(events)
    if _SEPARATORS_START in lines:
        for separator, escape in _SEPARATORS:
            lines = lines.replace(separator, escape)
    return lines.split(b"\n")[:-1]


def event_id(run_id: str, number: int) -> str:
    """How clients name an event."""
    return f"{run_id}:{number}"


def frame(run_id: bytes, number: int, data: bytes) -> bytes:
    """A logged event as it goes out: its type is what its JSON begins with."""
    type = data[_TYPE_START : data.index(b'"', _TYPE_START)]
    return _FRAME % (run_id, number, type, data)


def type_of(frame: bytes) -> str:
    """The type of a framed event."""
    start = frame.index(_TYPE) + len(_TYPE)
    return frame[start : frame.index(b"\n", start)].decode()


def is_done(frame: bytes) -> bool:
    """Whether a framed event is `done`. No line of its JSON can look like that."""
    return _DONE in frame


def data_of(frame: bytes) -> bytes:
    """The JSON of a framed event."""
    return frame[frame.index(_DATA) + len(_DATA) : -len(_END)]
