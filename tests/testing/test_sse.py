"""The contract of the SSE reader: the same frames wherever a stream is cut."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.testing.sse import FrameReader, aread, parse, read

STREAM = (
    b'event: connected\ndata: {"type":"connected"}\n\n'
    b": heartbeat\n\n"
    b'id: run:1\nevent: content\ndata: {"content":"a: \xc3\xa9"}\n\n'
    b"id: run:2\nevent: done\ndata: {}\n\n"
)


def cut(places: set[int]) -> Iterator[bytes]:
    offsets = sorted({0, *places, len(STREAM)})
    return (STREAM[a:b] for a, b in zip(offsets, offsets[1:], strict=False))


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_frames_are_the_same_wherever_the_stream_is_cut(places: set[int]) -> None:
    assert list(read(cut(places))) == parse(STREAM)


async def test_an_asynchronous_stream_has_the_same_frames() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in cut({7, 70, 90}):
            yield chunk

    assert [frame async for frame in aread(chunks())] == parse(STREAM)


def test_a_frame_has_its_bytes_and_its_fields() -> None:
    connected, content, done = parse(STREAM)
    assert (connected.id, connected.event) == ("", "connected")
    assert (content.id, content.run_id, content.number) == ("run:1", "run", 1)
    assert content.data == {"content": "a: é"}
    assert content.text == '{"content":"a: é"}'
    assert b"\n\n".join([content.raw, done.raw, b""]) == STREAM[STREAM.index(b"id:") :]
    assert 0 < connected.arrived <= done.arrived


def test_an_incomplete_frame_is_kept_apart() -> None:
    reader = FrameReader()
    assert reader.feed(STREAM[:-1]) == parse(STREAM)[:-1]
    assert reader.rest == b"id: run:2\nevent: done\ndata: {}\n"
    with pytest.raises(ValueError, match="not whole"):
        parse(STREAM[:-1])


@pytest.mark.parametrize("frame", [b"data:{}", b"data: {}\ndata: {}", b"data"])
def test_no_other_form_is_accepted(frame: bytes) -> None:
    with pytest.raises(ValueError, match="not a field"):
        parse(frame + b"\n\n")
