"""The bench measures what it says: its provider, its load and its counts are right."""

import asyncio
import json
import random
import re
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from bench import plot
from bench.faults.proxy import proxy
from bench.latency import Step, most_held
from bench.load import Samples, Stream
from bench.processes import python
from bench.resources import commits
from bench.servers_under_test import ALL
from bench.upstream import question, reply, reply_to
from bench.wire import PROTOCOLS, STAMP, Protocol, answer, path_of
from streaming.testing.provider import StandInProvider
from streaming.testing.server import free_port
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
    data = reply(protocol, COUNT).whole
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
    data = reply("chat", COUNT).whole.replace(b"#060 ", b"")
    with pytest.raises(RuntimeError, match="60 of 120 came"):
        stream_of(data, []).check(COUNT, b"")


async def test_delays_and_gaps_are_those_of_the_deltas() -> None:
    stream = Stream(b"", samples := Samples(0, 2**62))
    for part in reply("anthropic", 5, 0.01).chunks:
        now = int(asyncio.get_running_loop().time() * 1e6)
        stream.data_received(part.replace(STAMP, b"@%016d" % (now - 70_000), 1))
        await asyncio.sleep(0.01)
    assert len(samples.delays) == len(samples.gaps) == 4  # the first is no gap's end
    assert min(samples.delays) >= 70_000
    assert min(samples.gaps) >= 9_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_provider_sends_what_was_asked_as_it_was_asked(
    protocol: Protocol,
) -> None:
    async def ask(asked: str) -> list[bytes]:
        """Send a prompt; return what each read brought."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        length = len(body := json.dumps({"input": [asked]}).encode())
        writer.write(
            f"POST {path_of(protocol)} HTTP/1.1\r\n"
            f"Connection: close\r\nContent-Length: {length}\r\n\r\n".encode()
            + body
        )
        read = []
        while data := await reader.read(1_000_000):
            read.append(data)
        writer.close()
        await writer.wait_closed()
        return read

    async with StandInProvider(reply_to) as upstream:
        port = urlsplit(upstream.url).port
        at_once = await ask(question(COUNT, 0, one_by_one=False))
        each = await ask(question(COUNT, 0, one_by_one=True))
        paced = await ask(question(3, 1, one_by_one=False))
    assert b"".join(at_once) == reply(protocol, COUNT).whole
    assert b"".join(each) == reply(protocol, COUNT, 0).whole
    assert len(each) > COUNT / 4  # the reader shares the event loop
    stamp = re.compile(rb"@\d{16}")
    sent = reply(protocol, 3, 0.001).whole
    assert stamp.sub(b"", b"".join(paced)) == stamp.sub(b"", sent)


def test_each_transaction_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x TEXT)")
        log, before = commits(path)
        for size in (1, 10_000, 100_000):
            database.execute("BEGIN")
            for _ in range(3):
                database.execute("INSERT INTO t VALUES (?)", ["x" * size])
            database.execute("COMMIT")
        assert commits(path) == (log, before + 3)
        database.execute("PRAGMA wal_checkpoint(RESTART)")
        database.execute("INSERT INTO t VALUES ('x')")
        anew, made = commits(path)
        assert (anew != log, made) == (True, 1)


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


def test_readers_elsewhere_are_measured_beside_those_here(tmp_path: Path) -> None:
    table = python(
        *("-m", "bench.remote", "--runs", "4", "--rate", "20", "--seconds", "0.3"),
        *("--output", str(tmp_path)),
    )
    assert re.findall(r"^\| ([^|]+, SQLite) \| (\d+)", table, re.MULTILINE) == [
        ("in the same process, SQLite", "80"),
        ("elsewhere, SQLite", "80"),
    ]
    assert (tmp_path / "remote.md").read_text() == table


# Faults


async def test_a_proxy_disconnects_a_client_if_its_server_cannot_be_reached() -> None:
    async with proxy(free_port()) as way:
        reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
