"""The stream to measure by, as a client sees it through whatever stands between."""

import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

from streaming.selftest.plan import PATH, Plan
from streaming.wire import native

#: Beyond what the plan says, a client waits so long for the next bytes.
PATIENCE_SECONDS = 30.0
MOST_BODY_CHARACTERS = 300


@dataclass
class Frame:
    """An event, or a comment without a name, and when it came."""

    at: float
    event: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Reading:
    """What came over one connection. Times are seconds since its request was sent."""

    method: str
    status: int = 0
    http_version: str = ""
    headers: httpx2.Headers = field(default_factory=httpx2.Headers)
    frames: list[Frame] = field(default_factory=list)
    #: Of an answer that is no stream.
    body: str = ""
    #: Why the connection was not made, or broke off.
    failure: str = ""
    seconds: float = 0.0

    @property
    def is_stream(self) -> bool:
        """Whether it is what was asked for."""
        kind = self.headers.get("Content-Type", "")
        return self.status == 200 and kind.startswith("text/event-stream")

    @property
    def connected(self) -> dict[str, Any]:
        """What the server said first."""
        return next((f.data for f in self.frames if f.event == "connected"), {})

    @property
    def is_whole(self) -> bool:
        """Whether the last frame has come."""
        return any(frame.event == "done" for frame in self.frames)

    @property
    def measured(self) -> list[Frame]:
        """The frames that were sent at a steady pace."""
        return [frame for frame in self.frames if frame.event == "selftest"]

    @property
    def heartbeats(self) -> int:
        """How many comments came."""
        return sum(not frame.event for frame in self.frames)


@dataclass
class Measured:
    """The readings of a test: of a POST, of a GET, and of resuming the latter."""

    plan: Plan
    post: Reading
    get: Reading
    resumed: Reading
    #: The silence: the same as `resumed`, unless Last-Event-ID was lost.
    silent: Reading

    @property
    def all(self) -> list[Reading]:
        """In the order they were made."""
        return [self.post, self.get, self.resumed, self.silent]


def offers_http2(base_url: str) -> bool | None:
    """Whether browsers may use HTTP/2; None where they may not ask: without TLS."""
    url = httpx2.URL(base_url)
    if url.scheme != "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    address = (url.host, url.port or 443)
    try:
        with (
            socket.create_connection(address, PATIENCE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=url.host) as secure,
        ):
            return secure.selected_alpn_protocol() == "h2"
    except OSError:
        return None


def measure(client: httpx2.Client, base_url: str, plan: Plan) -> Measured | Reading:
    """Make the connections in turn; the first alone when it brings no stream."""
    url = f"{base_url.rstrip('/')}{PATH}?plan={plan.sign()}"
    post = read(client, "POST", url, plan)
    if not post.is_stream:
        return post
    get = read(client, "GET", url, plan)
    last = {"Last-Event-ID": native.event_id(plan.id, plan.frames)}
    resumed = silent = read(client, "GET", url, plan, last)
    if resumed.measured:
        silent = read(client, "GET", f"{url}&after={plan.frames}", plan)
    return Measured(plan, post, get, resumed, silent)


def read(
    client: httpx2.Client,
    method: str,
    url: str,
    plan: Plan,
    headers: dict[str, str] | None = None,
) -> Reading:
    """Make one request and note when what came."""
    reading = Reading(method)
    body: dict[str, str] | None = {} if method == "POST" else None
    timeout = httpx2.Timeout(PATIENCE_SECONDS, read=plan.silence + PATIENCE_SECONDS)
    began = time.monotonic()
    try:
        with client.stream(
            method, url, headers=headers, timeout=timeout, json=body
        ) as response:
            _read(response, reading, began)
    except httpx2.HTTPError as error:
        reading.failure = str(error) or type(error).__name__
    except (msgspec.DecodeError, UnicodeDecodeError):
        reading.failure = "what came is not what was sent"
    reading.seconds = time.monotonic() - began
    return reading


def _read(response: httpx2.Response, reading: Reading, began: float) -> None:
    reading.status = response.status_code
    reading.http_version = response.http_version
    reading.headers = response.headers
    if not reading.is_stream:
        response.read()
        reading.body = response.text[:MOST_BODY_CHARACTERS]
        return
    rest = b""
    for chunk in response.iter_bytes():
        at = time.monotonic() - began
        *blocks, rest = (rest + chunk).split(b"\n\n")
        reading.frames += [_frame(at, block.decode()) for block in blocks]


def _frame(at: float, block: str) -> Frame:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
    if "event" not in fields:
        return Frame(at)
    return Frame(at, fields["event"], msgspec.json.decode(fields.get("data", "{}")))
