"""The bounds of the address for scrapes: its clients are not authenticated."""

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from streaming.telemetry import address
from streaming.telemetry.address import MAX_REQUESTS, MetricsAddress
from streaming.testing.server import free_port
from tests.client import SECONDS


class Served:
    """An address whose responses wait until `released`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.released = threading.Event()
        self.entered = threading.Semaphore(0)
        self.server = MetricsAddress("127.0.0.1", self.port, self._respond)

    def _respond(self, accept: str) -> tuple[bytes, str]:
        self.entered.release()
        self.released.wait(SECONDS)
        return b"text", "text/plain"

    def connect(self, request: bytes = b"") -> socket.socket:
        """Return a connection that has sent the beginning of a request."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        client.sendall(request)
        return client

    def get(self) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=SECONDS)


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    try:
        yield found
    finally:
        found.released.set()
        found.server.close()


def is_closed(client: socket.socket) -> bool:
    """Wait for the end of a connection, and return whether nothing was sent."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


WHOLE = b"GET /metrics HTTP/1.0\r\n\r\n"


def test_connections_beyond_the_bound_are_closed(served: Served) -> None:
    answered = [served.connect(WHOLE) for _ in range(MAX_REQUESTS)]
    for _ in answered:
        assert served.entered.acquire(timeout=SECONDS)
    for _ in range(8):
        with served.connect() as refused:
            assert is_closed(refused)
    served.released.set()
    for client in answered:
        with client, client.makefile("rb") as response:
            assert response.read().endswith(b"\r\n\r\ntext")
    # The places are free again; the threads give them back after the last byte.
    assert until_answered(served).text == "text"


def until_answered(served: Served) -> httpx.Response:
    """Repeat a scrape as long as its connection is closed."""
    for _ in range(1000):
        try:
            return served.get()
        except httpx.TransportError:
            continue
    raise AssertionError("no place became free")


def test_a_request_that_comes_byte_by_byte_is_cut(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "REQUEST_SECONDS", 0.3)
    served.released.set()
    ended = threading.Event()
    slow = [served.connect(b"GET /metrics HTTP/1.0\r\n") for _ in range(MAX_REQUESTS)]

    def trickle() -> None:
        while not ended.wait(0.05):  # each byte comes long before the time of a read
            for client in slow:
                try:
                    client.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    try:
        for client in slow:
            assert is_closed(client)
    finally:
        ended.set()
        thread.join()
        for client in slow:
            client.close()
    monkeypatch.undo()
    assert until_answered(served).status_code == 200
