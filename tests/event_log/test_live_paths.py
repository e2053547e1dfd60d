"""The contract of `LiveTail`: pieces come to the processes that listen to their run."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.event_log.live.base import (
    LivePathError,
    NoLive,
    Piece,
    decode,
    encode,
    split,
)
from streaming.event_log.live.postgres import PAYLOAD_BYTES, SEPARATOR, payloads
from streaming.event_log.live.redis import RedisLive
from streaming.events import Content, encode_all
from streaming.testing.server import free_port
from tests.event_log.live_paths import CARRYING, PATIENCE, LivePath, listening, path

__all__ = ["path"]

RUN, OTHER = "a" * 32, "b" * 32
carrying = pytest.mark.parametrize("path", CARRYING, indirect=True)


def lines(*texts: str) -> list[bytes]:
    return encode_all([Content(content=text, timestamp=1) for text in texts])


def piece(first: int, *texts: str, run_id: str = RUN, attempt: int = 1) -> Piece:
    return Piece(run_id, attempt, 0, first, lines(*texts))


def unexpected(piece: Piece) -> None:
    raise AssertionError(piece)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  (of any kind)
            await asyncio.sleep(0.01)


@carrying
async def test_pieces_come_to_all_that_listen_to_their_run(
    path: LivePath, transactional_db: None
) -> None:
    sender = path.make(lambda _: None)
    sent = [
        piece(1, "one", "zwei ✓\x1e\n", " "),
        piece(4, "four"),
        piece(5, "x" * 3000),
    ]
    other = piece(1, "of another run", run_id=OTHER)
    async with listening(path, RUN) as here, listening(path, RUN, OTHER) as there:
        await sender.publish([sent[0], other])
        await sender.publish(sent[1:])
        await until(lambda: len(here) == 3 and len(there) == 4)
    assert here == sent
    assert sorted(there, key=lambda p: (p.run_id, p.first)) == [*sent, other]
    await sender.aclose()


@carrying
async def test_runs_that_are_followed_while_the_path_connects_are_received(
    path: LivePath, transactional_db: None
) -> None:
    found: list[Piece] = []
    live, sender = path.make(found.append), path.make(lambda _: None)
    run_ids = [f"{number:032x}" for number in range(200)]
    listening = []
    for run_id in run_ids:
        listening.append(asyncio.create_task(live.listen(run_id)))
        await asyncio.sleep(0)
    await asyncio.gather(*listening)
    await sender.publish([piece(1, "heard", run_id=run_id) for run_id in run_ids])
    await until(lambda: len(found) == len(run_ids))
    for each in (live, sender):
        await each.aclose()


@carrying
async def test_no_pieces_come_after_the_last_reader_has_left(
    path: LivePath, transactional_db: None
) -> None:
    found: list[Piece] = []
    live, sender = path.make(found.append), path.make(lambda _: None)
    await live.listen(RUN)
    await live.listen(OTHER)
    live.leave(RUN)
    await sender.publish([piece(1, "unheard"), piece(1, "heard", run_id=OTHER)])
    await until(lambda: found)
    assert {one.run_id for one in found} == {OTHER}
    await live.listen(RUN)
    await sender.publish([piece(2, "heard again")])
    await until(lambda: len(found) == 2)
    for each in (live, sender):
        await each.aclose()


@carrying
async def test_a_path_comes_back_after_its_connections_were_ended(
    path: LivePath, transactional_db: None
) -> None:
    sender = path.make(lambda _: None)
    async with listening(path, RUN) as found, asyncio.timeout(PATIENCE):
        await sender.publish([piece(1, "before")])
        await until(lambda: found)
        await path.end_connections()
        while len(found) < 2:  # lost until both ends have connected again
            try:
                await sender.publish([piece(2, "after")])
            except LivePathError as error:
                assert "after" not in str(error)
            await asyncio.sleep(0.02)
    assert found[-1] == piece(2, "after")
    await sender.aclose()


@carrying
async def test_a_publication_that_was_cancelled_delays_no_later_one(
    path: LivePath, transactional_db: None
) -> None:
    sender = path.make(lambda _: None)
    async with listening(path, RUN) as found:
        for _ in range(3):
            cancelled = asyncio.create_task(sender.publish([piece(1, "maybe")]))
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled])
        await sender.publish([piece(2, "certainly")])
        await until(lambda: piece(2, "certainly") in found)
    await sender.aclose()


async def test_nothing_comes_without_a_path() -> None:
    live = NoLive(unexpected)
    await live.listen(RUN)
    await live.publish([piece(1, "x")])
    live.leave(RUN)
    await live.aclose()


async def test_a_broker_that_is_away_is_an_error_that_shows_no_secret() -> None:
    url = f"redis://:hidden@127.0.0.1:{free_port()}"
    live = RedisLive(url, unexpected)
    await live.listen(RUN)  # it returns all the same
    with pytest.raises(LivePathError) as caught:
        await live.publish([piece(1, "x")])
    assert "hidden" not in f"{caught.value!r} {caught.value.__cause__}"
    await live.aclose()


texts = st.lists(st.text(max_size=400), min_size=1, max_size=12)


@given(texts, st.integers(0, 9), st.integers(1, 2**31))
def test_a_message_is_its_piece(texts: list[str], attempt: int, first: int) -> None:
    made = Piece(RUN, attempt, first // 2, first, lines(*texts))
    assert decode(RUN, encode(made)) == made


@given(texts, st.integers(0, 3000), st.integers(0, 255))
def test_a_message_that_is_not_whole_is_none(
    texts: list[str], cut: int, byte: int
) -> None:
    message = encode(piece(1, *texts))
    cut %= len(message)
    assert decode(RUN, message[:cut]) is None
    assert decode(RUN, message + bytes([byte])) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\n",
        b"hello",
        b'{"type":"content"}',
        b"1 1 1 5\nhello",
        b"-1 0 1 0\n",
        b"1 0 1\n",
        b"99999999999 0 1 0\n",
        b'1 0 1 9\n{"type":"',
        b'1 0 1 11\n{"type":""}',
        b'1 0 1 18\n{"type":"content"}\n{"type":"content"}',
        b"\xff\xfe 1 1 1\n",
    ],
)
def test_a_foreign_message_is_no_piece(message: bytes) -> None:
    assert decode(RUN, message) is None


@given(texts, st.integers(1, 500))
def test_a_split_piece_has_the_same_events(texts: list[str], size: int) -> None:
    whole = piece(7, *texts)
    number = 7
    for part in split(whole, size):
        assert part.first == number
        if part.lines:
            assert sum(len(line) + 1 for line in part.lines) <= size
            at = number - 7
            assert [*part.lines] == whole.lines[at : at + len(part.lines)]
        else:
            assert len(whole.lines[number - 7]) + 1 > size
        number += max(len(part.lines), 1)
    assert number == 7 + len(texts)


@given(st.lists(texts, max_size=6))
def test_payloads_fit_into_a_notification(pieces: Sequence[list[str]]) -> None:
    sent = [
        piece(1, *[text * 30 for text in texts], run_id=f"{number:032}")
        for number, texts in enumerate(pieces)
    ]
    found: list[Piece] = []
    for payload in payloads(sent):
        assert len(payload.encode()) <= PAYLOAD_BYTES
        for item in payload.split(SEPARATOR):
            run_id, _, message = item.partition(" ")
            came = decode(run_id, message.encode())
            assert came
            found.append(came)
    for whole in sent:
        parts = [part for part in found if part.run_id == whole.run_id]
        numbers = sum(max(len(part.lines), 1) for part in parts)
        assert numbers == len(whole.lines)
