"""The codec, by the examples of the WHATWG's HTML standard (section 9.2.6)."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.events import Content, encode
from streaming.wire import sse


def decode(*chunks: bytes) -> list[bytes]:
    decoder = sse.Decoder()
    return [data for chunk in chunks for data in decoder.feed(chunk)]


def test_whatwg_multi_line_data() -> None:
    assert decode(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [b"YHOO\n+2\n10"]


def test_whatwg_comments_and_ids() -> None:
    stream = (
        b": test stream\n\ndata: first event\nid: 1\n\n"
        b"data:second event\nid\n\ndata:  third event\n\n"
    )
    assert decode(stream) == [b"first event", b"second event", b" third event"]


def test_whatwg_empty_data() -> None:
    assert decode(b"data\n\ndata\ndata\n\ndata:") == [b"", b"\n"]


def test_whatwg_space_after_colon() -> None:
    assert decode(b"data:test\n\ndata: test\n\n") == [b"test", b"test"]


def test_an_event_without_its_blank_line_comes_with_flush() -> None:
    decoder = sse.Decoder()
    assert decoder.feed(b"data: a\n\ndata: [DONE]") == [b"a"]
    assert decoder.flush() == [b"[DONE]"]
    assert decoder.flush() == []


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b'error: {"code": 400}', b'{"error":{"code": 400}}'),
        (b'error:"no"', b'{"error":"no"}'),
        (b'error: it\'s "broken"', b'{"error":"it\'s \\"broken\\""}'),
        (b"error:", b'{"error":""}'),
    ],
)
def test_an_error_field_in_place_of_data_is_data(field: bytes, expected: bytes) -> None:
    assert decode(b"data: a\n\n" + field + b"\n\n") == [b"a", expected]


def test_an_error_field_beside_data_is_ignored() -> None:
    assert decode(b"error: no\ndata: a\n\n: error: no\n\n") == [b"a"]


def test_an_endless_event_is_refused() -> None:
    decoder = sse.Decoder(max_event_bytes=100)
    decoder.feed(b"data: " + b"x" * 90)
    with pytest.raises(ValueError, match="100 bytes"):
        decoder.feed(b"x" * 10)


LINES = [
    "",
    "",
    "data: a",
    "event: e",
    "data: data: b",
    "data:c",
    "data",
    "id: 1",
    ": d",
]


@given(st.lists(st.sampled_from(LINES)))
@example(["event: e", "data: a", "", "data: a"])
@example(["event: e", "event: e", "data: a"])
@example(["data: a", "event: e", "data: a"])
def test_the_quick_way_tells_the_same(lines: list[str]) -> None:
    events = "\n".join([*lines, "", ""]).encode()
    assert sse._data_of(events) == list(sse._irregular(events))


STREAM = (
    "\ufeff: hello\r\n\r\nevent: a\ndata: ä😀\n\ndata: 1\rdata: 2\r\rid: 3\n\n"
    'data:\r\n\r\ndata: {"x": "\u2028"}\r\n\r\n\n\ndata: end\n\n'
).encode()
EXPECTED = ["ä😀".encode(), b"1\n2", b"", '{"x": "\u2028"}'.encode(), b"end"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert decode(*chunks) == EXPECTED


def test_byte_by_byte() -> None:
    assert decode(*(bytes([byte]) for byte in STREAM)) == EXPECTED


@given(st.text())
@example("\nevent: done\ndata: ")
def test_what_is_framed_is_read_back(text: str) -> None:
    data = encode(Content(content=text))
    assert decode(sse.frame("content", data, id="run:7")) == [data]
