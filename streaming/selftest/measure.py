"""The test stream, as a client receives it through all proxies."""

import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

from streaming.selftest.plan import PATH, Plan
from streaming.wire import native

#: Wait for the next bytes, beyond the silence of the plan.
TIMEOUT_SECONDS = 30.0
MAX_BODY_CHARACTERS = 300


@dataclass
class Frame:
    """An event, or a comment without a name, and its time of arrival."""

    at: float
    event: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Reading:
    """The response on one connection. Times are seconds since the request was sent."""

    method: str
    status: int = 0
    http_version: str = ""
    headers: httpx2.Headers = field(default_factory=httpx2.Headers)
    frames: list[Frame] = field(default_factory=list)
    #: The beginning of a response that is no stream.
    body: str = ""
    #: The cause if the connection failed or was cut.
    failure: str = ""
    seconds: float = 0.0

    @property
    def is_stream(self) -> bool:
        """Return true for a successful event stream."""
        kind = self.headers.get("Content-Type", "")
        return self.status == 200 and kind.startswith("text/event-stream")

    @property
    def connected(self) -> dict[str, Any]:
        """Return the data of the first event, or nothing."""
        return next((f.data for f in self.frames if f.event == "connected"), {})

    @property
    def is_whole(self) -> bool:
        """Return true if the last frame has arrived."""
        return any(frame.event == "done" for frame in self.frames)

    @property
    def measured(self) -> list[Frame]:
        """Return the frames that were sent at a steady pace."""
        return [frame for frame in self.frames if frame.event == "selftest"]

    @property
    def heartbeats(self) -> int:
        """Return the number of comments."""
        return sum(not frame.event for frame in self.frames)


@dataclass
class Measured:
    """The readings of a test: of a POST, of a GET, and of resuming the latter."""

    plan: Plan
    post: Reading
    get: Reading
    resumed: Reading
    #: The reading of the silence: `resumed`, unless Last-Event-ID was lost.
    silent: Reading

    @property
    def all(self) -> list[Reading]:
        """Return the readings in the order of their requests."""
        return [self.post, self.get, self.resumed, self.silent]


def offers_http2(base_url: str) -> bool | None:
    """Return true if browsers can negotiate HTTP/2; None without TLS."""
    url = httpx2.URL(base_url)
    if url.scheme != "https":
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    address = (url.host, url.port or 443)
    try:
        with (
            socket.create_connection(address, TIMEOUT_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=url.host) as secure,
        ):
            return secure.selected_alpn_protocol() == "h2"
    except OSError:
        return None


def measure(client: httpx2.Client, base_url: str, plan: Plan) -> Measured | Reading:
    """Make the connections in turn; only the first if it returns no stream."""
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
    """Make one request, and record the arrival of each frame."""
    reading = Reading(method)
    body: dict[str, str] | None = {} if method == "POST" else None
    timeout = httpx2.Timeout(TIMEOUT_SECONDS, read=plan.silence + TIMEOUT_SECONDS)
    started = time.monotonic()
    try:
        with client.stream(
            method, url, headers=headers, timeout=timeout, json=body
        ) as response:
            _read(response, reading, started)
    except httpx2.HTTPError as error:
        reading.failure = str(error) or type(error).__name__
    except (msgspec.DecodeError, UnicodeDecodeError):
        reading.failure = "the response is not the stream that was sent"
    reading.seconds = time.monotonic() - started
    return reading


def _read(response: httpx2.Response, reading: Reading, started: float) -> None:
    reading.status = response.status_code
    reading.http_version = response.http_version
    reading.headers = response.headers
    if not reading.is_stream:
        response.read()
        reading.body = response.text[:MAX_BODY_CHARACTERS]
        return
    rest = b""
    for chunk in response.iter_bytes():
        at = time.monotonic() - started
        *blocks, rest = (rest + chunk).split(b"\n\n")
        reading.frames += [_frame(at, block.decode()) for block in blocks]


def _frame(at: float, block: str) -> Frame:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
    if "event" not in fields:
        return Frame(at)
    return Frame(at, fields["event"], msgspec.json.decode(fields.get("data", "{}")))
