"""The port of wire formats: any format is driven alike, and resumes at any frame."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from streaming.api.follow import SKIP_BATCH, encode_log
from streaming.events import (
    ConnectedInfo,
    Content,
    Done,
    Entry,
    Event,
    Thinking,
    ToolCallEvent,
    ToolCallInfo,
    ToolResultEvent,
    encode_all,
    make_entries,
)
from streaming.exceptions import ShuttingDown
from streaming.wire.base import WireFormat
from streaming.wire.native import NativeFormat
from tests.wire.merged_lines import MergedLines

CALL = ToolCallInfo("c", "calculator", "{}", "executing")
EVENTS: list[Event] = [
    Content(content="a", timestamp=1),
    Content(content="\u2028b\n", timestamp=2),
    Thinking(thinking_step="c", timestamp=3),
    ToolCallEvent(tool_call=CALL, timestamp=4),
    ToolResultEvent(tool_call=CALL, timestamp=5),
]
LOGS = st.lists(st.sampled_from(EVENTS), max_size=30)
CUTS = st.lists(st.integers(0, 31), max_size=6)


@asynccontextmanager
async def following(
    batches: Sequence[list[Entry]],
) -> AsyncIterator[AsyncGenerator[list[Entry]]]:
    async def follow() -> AsyncGenerator[list[Entry]]:
        for batch in batches:
            yield batch

    yield follow()


async def chunks(
    wire: WireFormat,
    batches: Sequence[list[Entry]],
    cursor: int | None = None,
    heartbeat: float = 60,
) -> list[bytes]:
    """Return the chunks of a connection that resumes at `cursor`."""
    resumed_after = UNSET if cursor is None else cursor
    info = ConnectedInfo("A", "run1", "acme", "conv", "demo", "demo-1", resumed_after)
    after, skip = (cursor or 0, 0) if wire.stateless else (0, cursor or 0)
    rest = [[entry for entry in batch if entry.number > after] for batch in batches]
    bodies = encode_log(wire, info, following(rest), skip, heartbeat)
    return [chunk async for chunk in bodies]


def stream(
    wire: WireFormat, batches: Sequence[list[Entry]], cursor: int | None = None
) -> bytes:
    """Return all that a connection sends after its greeting, but for keep-alives."""
    sent = asyncio.run(chunks(wire, batches, cursor))[1:]
    return b"".join(chunk for chunk in sent if chunk != wire.keep_alive())


def entries_of(events: Sequence[Event]) -> list[Entry]:
    return make_entries(1, encode_all([*events, Done(timestamp=9)]))


def split(entries: list[Entry], cuts: list[int]) -> list[list[Entry]]:
    """Return the entries in batches, as a log might."""
    edges = [0, *sorted(min(cut, len(entries)) for cut in cuts), len(entries)]
    return [entries[a:b] for a, b in pairwise(edges) if a < b]


@given(LOGS, CUTS, st.data())
def test_a_stream_resumed_at_any_frame_is_the_unbroken_one(
    events: list[Event], cuts: list[int], data: st.DataObject
) -> None:
    entries = entries_of(events)
    whole = stream(MergedLines(), [entries])
    lines = whole.splitlines(keepends=True)
    assert lines.pop() == b"end\n"
    k = data.draw(st.integers(0, len(lines)))
    resumed = stream(MergedLines(), split(entries, cuts), k)
    assert resumed == b"".join([*lines[k:], b"end\n"])


@given(LOGS, CUTS, st.data())
def test_a_native_stream_resumed_at_any_event_is_the_unbroken_one(
    events: list[Event], cuts: list[int], data: st.DataObject
) -> None:
    entries = entries_of(events)
    whole = stream(NativeFormat(), [entries])
    frames = whole.split(b"\n\n")[:-1]
    assert len(frames) == len(entries)
    after = data.draw(st.integers(0, len(entries)))
    resumed = stream(NativeFormat(), split(entries, cuts), after)
    assert resumed == b"".join(frame + b"\n\n" for frame in frames[after:])


def test_deltas_are_merged() -> None:
    wire = MergedLines()
    assert asyncio.run(chunks(wire, [entries_of(EVENTS)]))[0] == b"run run1\n"
    lines = stream(MergedLines(), [entries_of(EVENTS)]).splitlines()
    assert [line.split(b'"')[:2] for line in lines] == [
        [b"[1,", b"text"],
        [b"[2,", b"tool_call"],
        [b"[3,", b"returned"],
        [b"[4,", b"tool_result"],
        [b"[5,", b"done"],
        [b"end"],
    ]


@pytest.mark.parametrize("wire", [NativeFormat(), MergedLines()])
def test_a_connection_that_ends_early_has_no_end(wire: WireFormat) -> None:
    unfinished = make_entries(1, encode_all(EVENTS))
    assert not stream(wire, [unfinished]).endswith((b"end\n", b'"done"\n\n'))


@pytest.mark.parametrize("wire", [NativeFormat(["content"]), MergedLines()])
async def test_silence_is_filled_with_keep_alives(wire: WireFormat) -> None:
    thinking = make_entries(1, encode_all([EVENTS[2]]))
    sent = await chunks(wire, [[], thinking, []], heartbeat=60)
    assert sent[1:] == [wire.keep_alive()] * 2
    sent = await chunks(wire, [thinking, thinking], heartbeat=0)
    assert sent[1:] == [wire.keep_alive()] * 2


async def test_other_tasks_run_while_a_long_log_is_skipped() -> None:
    entries = entries_of([EVENTS[3]] * (10 * SKIP_BATCH))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    sent = await chunks(MergedLines(), [entries], cursor=len(entries) - 1)
    counting.cancel()
    assert turns >= 10
    assert [chunk[:12] for chunk in sent[1:]] == [b'[2001,"done"', b"end\n"]


def test_an_error_is_a_neutral_value() -> None:
    assert MergedLines.error(ShuttingDown()) == (
        503,
        {"Content-Type": "text/plain"},
        b"shutting_down",
    )
