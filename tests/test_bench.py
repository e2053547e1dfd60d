"""The bench measures what it says: its provider, its load and its counts are right."""

import asyncio
import json
import random
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plot
from bench.contenders import ALL
from bench.keeping import commits
from bench.latency import Step, most_held
from bench.load import Samples, Stream
from bench.upstream import parts, whole
from bench.wire import PROTOCOLS, STAMP, Protocol, answer
from streaming.wire import sse

COUNT = 120


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_has_all_its_text_in_deltas(protocol: Protocol) -> None:
    made = answer(protocol, COUNT, stamped=False)
    texts = []
    for event in sse.Decoder().feed(b"".join(made.deltas)):
        data = json.loads(event)
        match data.get("delta") or data["choices"][0]["delta"]:
            case str(text) | {"text": text} | {"content": text}:
                texts.append(text)
    assert texts == [f"#{number:03} " for number in range(COUNT)]


def stream_of(data: bytes, cuts: list[int]) -> Stream:
    """A stream that was brought `data` in pieces."""
    stream = Stream(b"", Samples(0, 2**62))
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        stream.data_received(data[start:end])
    return stream


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_no_delta_is_missed_wherever_the_bytes_are_cut(
    protocol: Protocol,
) -> None:
    rng = random.Random(1)
    data = whole(protocol, COUNT)
    for pieces in (1, 2, 50, 2000):
        cuts = [rng.randrange(len(data)) for _ in range(pieces - 1)]
        stream_of(data, cuts).check(COUNT, b"")


async def test_no_delta_is_missed_where_http_cuts_it() -> None:
    plain = answer("chat", COUNT, stamped=False)
    body = plain.head + b"".join(plain.deltas) + plain.tail
    rng = random.Random(2)
    cuts = [0, *sorted(rng.randrange(1, len(body)) for _ in range(500)), len(body)]
    chunks = [body[start:end] for start, end in pairwise(cuts) if start < end]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data = b"HTTP/1.1 200 OK\r\n\r\n" + framed + b"0\r\n\r\n"
    stream_of(data, [rng.randrange(len(data)) for _ in range(50)]).check(COUNT, b"")


async def test_a_lost_delta_is_noticed() -> None:
    data = whole("chat", COUNT).replace(b"#060 ", b"")
    with pytest.raises(RuntimeError, match="60 of 120 came"):
        stream_of(data, []).check(COUNT, b"")


async def test_delays_and_gaps_are_those_of_the_deltas() -> None:
    stream = Stream(b"", samples := Samples(0, 2**62))
    for part in parts("anthropic", 5, stamped=True):
        now = int(asyncio.get_running_loop().time() * 1e6)
        stream.data_received(part.replace(STAMP, b"@%016d" % (now - 70_000), 1))
        await asyncio.sleep(0.01)
    assert len(samples.delays) == len(samples.gaps) == 4  # the first is no gap's end
    assert min(samples.delays) >= 70_000
    assert min(samples.gaps) >= 9_000


def test_each_transaction_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x TEXT)")
        before = commits(path)
        for size in (1, 10_000, 100_000):
            database.execute("BEGIN")
            for _ in range(3):
                database.execute("INSERT INTO t VALUES (?)", ["x" * size])
            database.execute("COMMIT")
        assert commits(path) - before == 3


def test_the_plot_shows_everyone_in_the_order_of_what_they_hold() -> None:
    def steps(held: int) -> list[Step]:
        return [
            Step(n, (1, 10 if n <= held else 500), (20, 25), 30.0)
            for n in (10, 50, 400)
        ]

    names = [one.name for one in ALL[1:]]
    holds = {name: steps(50 if n % 2 else 10) for n, name in enumerate(names)}
    image = ElementTree.fromstring(plot.draw(holds))
    shown = [text for text in map(str, image.itertext()) if text in names]
    assert sorted(shown) == sorted(names)
    assert [most_held(holds[name]) for name in shown] == sorted(
        map(most_held, holds.values()), reverse=True
    )
