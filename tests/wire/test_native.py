"""The native wire format, to the byte."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from streaming.events import (
    ConnectedInfo,
    Content,
    Done,
    Entry,
    Event,
    Thinking,
    encode,
    encode_all,
)
from streaming.exceptions import (
    AgentError,
    ConversationBusy,
    DatabaseUnavailable,
    FieldError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    TooManyStreams,
)
from streaming.wire import sse
from streaming.wire.native import NativeFormat, event_id

RUN = ConnectedInfo("Agent", "abc", "acme", "conv", "demo", "demo-1", UNSET)


def greeted(*only: str) -> NativeFormat:
    wire = NativeFormat(only or None)
    wire.greet(RUN)
    return wire


def test_a_frame_is_as_the_contract_says() -> None:
    entry = Entry(7, encode(Content(content="hi\u2028", timestamp=5)))
    assert greeted().encode(entry) == (
        b"id: abc:7\nevent: content\n"
        b'data: {"type":"content","is_final":false,"timestamp":5,"content":"hi\\u2028"}'
        b"\n\n",
    )
    assert event_id("abc", 7) == "abc:7"


def test_the_greeting_is_as_the_contract_says() -> None:
    first, again = NativeFormat(), NativeFormat()
    head = b'retry: 1000\nevent: connected\ndata: {"type":"connected",'
    assert first.greet(RUN).startswith(head)
    assert b"resumed_after" not in first.greet(RUN)
    info = ConnectedInfo("Agent", "abc", "acme", "conv", "demo", "demo-1", 0)
    assert b'"resumed_after":0}}\n\n' in again.greet(info)
    assert (first.keep_alive(), first.end()) == (b": keep-alive\n\n", b"")


@given(st.text())
@example("\nevent: done\ndata: ")
@example('{"type":"done"')
@example("a\u2028b\u2029c")
def test_any_text_is_framed_as_one_event(text: str) -> None:
    data = encode(Content(content=text))
    entry = Entry(7, data)
    (frame,) = greeted().encode(entry)
    assert sse.Decoder().feed(frame) == [data]
    assert (entry.type, entry.is_last) == ("content", False)
    assert not {0x2028, 0x2029} & {ord(c) for c in data.decode()}


def test_the_last_entry_is_known() -> None:
    entry = Entry(8, encode(Done()))
    assert (entry.type, entry.is_last) == ("done", True)


def test_a_filter_leaves_out_other_types_but_not_those_always_sent() -> None:
    events: list[Event] = [Thinking(thinking_step="a"), Content(content="b"), Done()]
    wire = greeted("content")
    lines = enumerate(encode_all(events), 1)
    sent = [frame for n, line in lines for frame in wire.encode(Entry(n, line))]
    assert [frame.split(b"\n")[:2] for frame in sent] == [
        [b"id: abc:2", b"event: content"],
        [b"id: abc:3", b"event: done"],
    ]


@pytest.mark.parametrize(
    ("error", "status", "more", "body"),
    [
        (
            NotFound("No."),
            404,
            {},
            b'{"error":"No.","code":"not_found"}',
        ),
        (
            InvalidRequest([FieldError("input", "is blank")]),
            400,
            {},
            b'{"error":"input: is blank","code":"invalid_request",'
            b'"details":[{"field":"input","message":"is blank"}]}',
        ),
        (
            ConversationBusy("abc"),
            409,
            {},
            b'{"error":"This conversation has an active run: join it, cancel it,'
            b' or wait for its end.","code":"conversation_busy","run_id":"abc"}',
        ),
        (
            MethodNotAllowed("PUT", ("GET", "HEAD")),
            405,
            {"Allow": "GET, HEAD"},
            b'{"error":"PUT is not allowed here, use GET or HEAD.",'
            b'"code":"method_not_allowed"}',
        ),
        (
            TooManyStreams("Full."),
            429,
            {"Retry-After": "5"},
            b'{"error":"Full.","code":"too_many_streams"}',
        ),
        (
            DatabaseUnavailable(),
            503,
            {"Retry-After": "5"},
            b'{"error":"The database does not answer.","code":"database_unavailable"}',
        ),
    ],
)
def test_an_error_is_as_the_contract_says(
    error: AgentError, status: int, more: dict[str, str], body: bytes
) -> None:
    usual = {
        "Content-Type": "application/json",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    assert NativeFormat.error(error) == (status, usual | more, body)
