"""Many streams in one process, and one that does not read."""

import asyncio
import json
import resource
import socket
import time
from functools import partial
from pathlib import Path

from bench.faults.client import Stream, http_client
from bench.faults.model import Model, text_of
from bench.faults.servers import AgentServer, Site
from bench.faults.waiting import until

OPEN_FILES = 8192


async def idle(site: Site, model: Model, count: int) -> dict[str, float]:
    """Streams that wait for their model, and readers of one that waits."""
    raise_open_files()
    server = site.server(STREAM_MAX_OPEN="0")
    await server.astart()
    async with http_client() as http:
        warm = Stream(http, server.where, {"input": "say 20 every 1"})
        await warm.read()
        empty = resident_kb(server)
        runs = [Stream(http, server.where, {"input": "hang"}) for _ in range(count)]
        reading = await _open(runs, together=50)
        with_runs = resident_kb(server)
        readers = [Stream(http, server.where, {}, runs[0].run_id) for _ in range(count)]
        reading += await _open(readers, together=50)
        with_readers = resident_kb(server)
        assert model.active == count
        started = time.monotonic()
        another = Stream(http, server.where, {"input": "say 50 every 1"})
        await another.read()
        took = time.monotonic() - started
        assert another.text == text_of(50)
        threads = threads_of(server)
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
    return {
        "streams": count,
        "kB a run with its stream and its model's": (with_runs - empty) // count,
        "kB a reader more": (with_readers - with_runs) // count,
        "threads": threads,
        "ms of another stream beside them": round(took * 1000),
    }


async def stuck(site: Site, seconds: float) -> dict[str, float]:
    """A reader that stops reading delays no other, costs little, and can resume."""
    server = site.server(STREAM_SEND_TIMEOUT_SECONDS=str(int(seconds) + 60))
    await server.astart()
    async with http_client() as http:
        number = int(10_000 + seconds * 1000)
        body = {"input": f"say {number} every 0"}
        beside = Stream(http, server.where, body)
        reading = asyncio.create_task(beside.read())
        await until(lambda: bool(beside.events))
        before = resident_kb(server)
        reader, writer = await _stop_reading(server, beside.run_id)
        await reading
        assert beside.text == text_of(number)
        await asyncio.sleep(seconds)
        grown = resident_kb(server) - before
        rest = _without_chunks(await reader.read()).decode()
        writer.close()
    # Its socket was not closed, so that it gets all there is, late.
    said = [
        json.loads(line[6:])["content"]
        for line in rest.split("\n")
        if line.startswith('data: {"type":"content"')
    ]
    assert "".join(said) == text_of(number)
    assert rest.count("event: done") == 1
    return {"seconds": seconds, "events": len(beside.events), "kB grown": grown}


async def disconnected(site: Site) -> dict[str, float]:
    """A reader that takes nothing is let go in the end."""
    server = site.server(STREAM_SEND_TIMEOUT_SECONDS="1")
    await server.astart()
    async with http_client() as http:
        body = {"input": "say 30000 every 0"}
        beside = Stream(http, server.where, body)
        reading = asyncio.create_task(beside.read())
        await until(lambda: bool(beside.events))
        reader, writer = await _stop_reading(server, beside.run_id)
        await reading
        ours = writer.get_extra_info("sockname")[1]
        await until(lambda: not _is_connected(server.port, ours))
        try:
            rest = await reader.read()
        except ConnectionError:
            rest = b""
        assert b"event: done" not in rest
        writer.close()
        back = Stream(http, server.where, body, beside.run_id)
        await back.read()
        assert back.text == beside.text == text_of(30000)
    return {"events": len(back.events)}


def _without_chunks(answer: bytes) -> bytes:
    """The body of an HTTP answer in chunks."""
    _, _, left = answer.partition(b"\r\n\r\n")
    body = b""
    while left:
        size, _, left = left.partition(b"\r\n")
        length = int(size, 16)
        body += left[:length]
        left = left[length + 2 :]
    return body


def raise_open_files() -> None:
    """For us and for the servers that we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))


def resident_kb(server: AgentServer) -> int:
    """The memory that a server's process holds."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def threads_of(server: AgentServer) -> int:
    """How many threads a server's process has."""
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


async def _open(streams: list[Stream], together: int) -> list[asyncio.Task[None]]:
    """Connect them, some at a time."""
    tasks: list[asyncio.Task[None]] = []
    for start in range(0, len(streams), together):
        some = streams[start : start + together]
        tasks += [asyncio.create_task(stream.read_once()) for stream in some]
        await until(partial(_all_began, some))
    return tasks


def _is_connected(port: int, peer: int) -> bool:
    """Whether a connection is established, as its server's side sees it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        here, there, state = line.split()[1:4]
        ends = (int(here.split(":")[1], 16), int(there.split(":")[1], 16))
        if ends == (port, peer) and state == "01":
            return True
    return False


def _all_began(streams: list[Stream]) -> bool:
    return all(stream.events for stream in streams)


async def _stop_reading(
    server: AgentServer, run_id: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a run's events, with room for few of them, and read none."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", server.port))
    # So few bytes may wait in the reader that it soon leaves them in the socket.
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    path = f"/api/v1/agent/runs/{run_id}/events"
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    return reader, writer
