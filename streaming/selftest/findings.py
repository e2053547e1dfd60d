"""Judgement of a measurement, with the directives that fix each fault."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from streaming.selftest.measure import Measured, Reading

NGINX, CADDY, APACHE = "nginx", "Caddy", "Apache"
TRAEFIK, CLOUDFLARE = "Traefik", "Cloudflare"

UNBUFFERED = {
    NGINX: "proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering;",
    CADDY: "reverse_proxy … { flush_interval -1 }",
    APACHE: "ProxyPass … flushpackets=on",
    TRAEFIK: "no buffering middleware on this router",
    CLOUDFLARE: "Response Buffering off (Rules > Configuration Rules)",
}
UNCOMPRESSED = {
    NGINX: "gzip off; (and brotli off;) or no text/event-stream in gzip_types",
    CADDY: "encode { match { not header Content-Type text/event-stream* } }",
    APACHE: "SetEnvIf Request_URI ^/api/ no-gzip",
    TRAEFIK: "compress: excludedContentTypes: [text/event-stream]",
    CLOUDFLARE: "a Compression Rule that turns it off for /api/",
}
UNCACHED = {
    NGINX: "proxy_cache off; and no proxy_ignore_headers Cache-Control;",
    CADDY: "no cache handler on /api/",
    APACHE: "CacheDisable /api/",
    TRAEFIK: "no cache plugin on this router",
    CLOUDFLARE: "a Cache Rule that bypasses the cache for /api/",
}
NO_TIMEOUT = {
    NGINX: "proxy_read_timeout 1h;",
    CADDY: "reverse_proxy … { transport http { read_timeout 1h } stream_timeout 0 }",
    APACHE: "ProxyTimeout 3600",
    TRAEFIK: "entryPoints.….transport.respondingTimeouts.writeTimeout: 0",
    CLOUDFLARE: "STREAM_HEARTBEAT_SECONDS below 100, which it does not let you change",
}
HEADER_KEPT = {
    NGINX: "no proxy_pass_request_headers off; and no"
    ' proxy_set_header Last-Event-ID ""; (else'
    " proxy_set_header Last-Event-ID $http_last_event_id;)",
    CADDY: "no header_up -Last-Event-ID",
    APACHE: "no RequestHeader unset Last-Event-ID",
    TRAEFIK: "no customRequestHeaders that empty Last-Event-ID",
    CLOUDFLARE: "no Transform Rule that removes Last-Event-ID",
}
SCHEME_FORWARDED = {
    NGINX: "proxy_set_header X-Forwarded-Proto $scheme;",
    APACHE: "RequestHeader set X-Forwarded-Proto https",
}
HOST_FORWARDED = {
    NGINX: "proxy_set_header Host $http_host;",
    APACHE: "ProxyPreserveHost On",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    ok: bool
    check: str
    detail: str
    #: For a failed check: the directive to write for each product.
    fixes: Mapping[str, str] = field(default_factory=dict)


def findings(measured: Measured | Reading) -> list[Finding]:
    """Return the result of each check."""
    if isinstance(measured, Reading):
        return [refusal(measured)]
    return [
        _immediate(measured),
        _uncompressed(measured),
        _uncached(measured),
        _resumed(measured),
        _silence(measured),
    ]


def refusal(reading: Reading) -> Finding:
    """Return the cause of a response that is no stream."""
    check = "The server answers."
    status, body = reading.status, reading.body
    location = reading.headers.get("Location", "")
    detail, fixes = f"It responds with {status}: {body}", dict[str, str]()
    if not status:
        detail = f"There is no response: {reading.failure}"
    elif location.startswith("https://"):
        detail = (
            f"It redirects to {location.partition('?')[0]}. Test that URL; if you did,"
            " the server does not learn that clients use TLS."
        )
        fixes = SCHEME_FORWARDED
    elif location:
        detail = f"It redirects to {location}: test that URL."
    elif status == 400 and "ALLOWED_HOSTS" in body:
        detail = (
            "The host name that reaches the server is not in ALLOWED_HOSTS: add it,"
            " or forward the client's."
        )
        fixes = HOST_FORWARDED
    elif status == 404:
        detail = (
            "It rejects this test. Check that the URL is the agent's, and that this"
            " command has the server's SECRET_KEY (its environment, its DATA_DIR)."
        )
    elif status in (401, 403):
        detail = f"It requires authentication ({status}): pass it with --header."
    elif status == 200:
        kind = reading.headers.get("Content-Type", "no content type")
        detail = f"Another service responds, with {kind}."
    return Finding(False, check, detail, fixes)


def _immediate(measured: Measured) -> Finding:
    check = "Frames arrive as they are sent."
    span = measured.plan.frames * measured.plan.pause
    for reading in (measured.post, measured.get):
        if not reading.measured:
            detail = (
                f"No frame came in response to a {reading.method}: {_end(reading)}."
            )
            return Finding(False, check, detail, NO_TIMEOUT)
        frames = reading.measured
        pieces = len({frame.at for frame in frames})
        if pieces < len(frames) / 2:
            delays = [frame.at - frame.data["sent"] for frame in frames]
            detail = (
                f"{len(frames)} came in {pieces} pieces, up to"
                f" {max(delays) - min(delays):.1f} s late: a proxy buffers the response"
                f" to a {reading.method}."
            )
            return Finding(False, check, detail, UNBUFFERED)
        if not reading.is_whole:
            detail = f"The stream of {span:.0f} s was cut: {_end(reading)}."
            return Finding(False, check, detail, NO_TIMEOUT)
    count = len(measured.post.measured) + len(measured.get.measured)
    detail = f"{count} frames, one each {measured.plan.pause * 1000:.0f} ms."
    return Finding(True, check, detail)


def _uncompressed(measured: Measured) -> Finding:
    check = "Frames are not compressed."
    for reading in measured.all:
        encoding = reading.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            detail = (
                f"A proxy compresses them with {encoding}, which delays frames, and not"
                " every client can read them."
            )
            return Finding(False, check, detail, UNCOMPRESSED)
    return Finding(True, check, "")


def _uncached(measured: Measured) -> Finding:
    check = "Frames are not cached."
    nonces = [_nonce(reading) for reading in measured.all[:3]]
    same = any(first == second and first for first, second in pairwise(nonces))
    hit = [
        f"{name}: {value}"
        for reading in measured.all
        for name in ("Age", "X-Cache", "CF-Cache-Status")
        if (value := reading.headers.get(name, ""))
        and (name == "Age" or "HIT" in value.upper())
    ]
    if same or hit:
        evidence = f" ({hit[0]})" if hit else ""
        detail = f"A cache responds: the same response came twice{evidence}."
        return Finding(False, check, detail, UNCACHED)
    return Finding(True, check, "")


def _resumed(measured: Measured) -> Finding:
    check = "Last-Event-ID reaches the server."
    resumed = measured.resumed
    if not resumed.connected:
        return Finding(False, check, f"Unknown: {_end(resumed)}.")
    if _nonce(resumed) == _nonce(measured.get):
        return Finding(False, check, "Unknown: a cache responded.")
    if resumed.connected.get("resumed_after") == measured.plan.frames:
        return Finding(True, check, "A stream was resumed after its last event.")
    arrived = resumed.connected.get("seen", {}).get("last_event_id", "")
    arrival = f"arrives as {arrived!r}" if arrived else "does not arrive"
    detail = (
        f"The header {arrival}: a client that reconnects receives all events again."
        " Until that is fixed, clients can send ?after= instead."
    )
    return Finding(False, check, detail, HEADER_KEPT)


def _silence(measured: Measured) -> Finding:
    check = "Silent streams stay open."
    silent, seconds = measured.silent, measured.plan.silence
    every = silent.connected.get("heartbeat", 0.0)
    beats = f"a heartbeat comes every {every:g} s (STREAM_HEARTBEAT_SECONDS)"
    if not silent.is_whole:
        detail = f"After {silent.seconds:.1f} s the stream was cut; {beats}."
        return Finding(False, check, detail, NO_TIMEOUT)
    if every and seconds > every and not silent.heartbeats:
        detail = f"They do, but no heartbeat arrived, although {beats}."
        return Finding(False, check, detail, UNBUFFERED)
    detail = f"{seconds:g} s of silence; heartbeats received: {silent.heartbeats}."
    return Finding(True, check, detail)


def _nonce(reading: Reading) -> str:
    return str(reading.connected.get("nonce", ""))


def _end(reading: Reading) -> str:
    return reading.failure or f"it ended after {reading.seconds:.1f} s"
