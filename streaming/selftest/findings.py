"""What a measurement means, in sentences, and what fixes it where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from streaming.selftest.measure import Measured, Reading

NGINX, CADDY, APACHE = "nginx", "Caddy", "Apache"
TRAEFIK, CLOUDFLARE = "Traefik", "Cloudflare"

#: How to name each in its own words.
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
SCHEME_TOLD = {
    NGINX: "proxy_set_header X-Forwarded-Proto $scheme;",
    APACHE: "RequestHeader set X-Forwarded-Proto https",
}
HOST_TOLD = {
    NGINX: "proxy_set_header Host $http_host;",
    APACHE: "ProxyPreserveHost On",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    what: str
    said: str
    #: What to write where, when it is not well.
    fixes: Mapping[str, str] = field(default_factory=dict)


def findings(measured: Measured | Reading) -> list[Finding]:
    """What was found, good and bad."""
    if isinstance(measured, Reading):
        return [refusal(measured)]
    return [
        _as_sent(measured),
        _uncompressed(measured),
        _uncached(measured),
        _resumed(measured),
        _survives(measured),
    ]


def refusal(reading: Reading) -> Finding:
    """Why there was no stream at all."""
    what = "The server answers."
    status, body = reading.status, reading.body
    location = reading.headers.get("Location", "")
    said, fixes = f"It answers {status}: {body}", dict[str, str]()
    if not status:
        said = f"There is no answer: {reading.failure}"
    elif location.startswith("https://"):
        said = (
            f"It redirects to {location.partition('?')[0]}. Test that URL; if you did,"
            " the server is not told that clients come over TLS."
        )
        fixes = SCHEME_TOLD
    elif location:
        said = f"It redirects to {location}: test that URL."
    elif status == 400 and "ALLOWED_HOSTS" in body:
        said = (
            "The host name that reaches the server is not in ALLOWED_HOSTS: add it,"
            " or pass the client's on."
        )
        fixes = HOST_TOLD
    elif status == 404:
        said = (
            "It does not know this test. Is the URL the agent's, and does this command"
            " have the server's SECRET_KEY (its environment, its DATA_DIR)?"
        )
    elif status in (401, 403):
        said = f"It asks who you are ({status}): say so with --header."
    elif status == 200:
        kind = reading.headers.get("Content-Type", "no content type")
        said = f"Something else answers, with {kind}."
    return Finding(False, what, said, fixes)


def _as_sent(measured: Measured) -> Finding:
    what = "Frames arrive as they are sent."
    span = measured.plan.frames * measured.plan.pause
    for reading in (measured.post, measured.get):
        if not reading.measured:
            said = f"None came after a {reading.method}: {_end(reading)}."
            return Finding(False, what, said, NO_TIMEOUT)
        frames = reading.measured
        pieces = len({frame.at for frame in frames})
        if pieces < len(frames) / 2:
            delays = [frame.at - frame.data["sent"] for frame in frames]
            said = (
                f"{len(frames)} came in {pieces} pieces, up to"
                f" {max(delays) - min(delays):.1f} s late: something buffers the answer"
                f" to a {reading.method}."
            )
            return Finding(False, what, said, UNBUFFERED)
        if not reading.is_whole:
            said = f"The stream of {span:.0f} s was cut: {_end(reading)}."
            return Finding(False, what, said, NO_TIMEOUT)
    count = len(measured.post.measured) + len(measured.get.measured)
    said = f"{count} frames, one each {measured.plan.pause * 1000:.0f} ms."
    return Finding(True, what, said)


def _uncompressed(measured: Measured) -> Finding:
    what = "Nothing compresses them."
    for reading in measured.all:
        encoding = reading.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            said = (
                f"Something does, with {encoding}: it holds frames back to do so, and"
                " not every client can read them."
            )
            return Finding(False, what, said, UNCOMPRESSED)
    return Finding(True, what, "")


def _uncached(measured: Measured) -> Finding:
    what = "Nothing caches them."
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
        told = f" ({hit[0]})" if hit else ""
        said = f"Something does: the same answer came twice{told}."
        return Finding(False, what, said, UNCACHED)
    return Finding(True, what, "")


def _resumed(measured: Measured) -> Finding:
    what = "Last-Event-ID gets through."
    resumed = measured.resumed
    if not resumed.connected:
        return Finding(False, what, f"Unknown: {_end(resumed)}.")
    if _nonce(resumed) == _nonce(measured.get):
        return Finding(False, what, "Unknown: a cache answered.")
    if resumed.connected.get("resumed_after") == measured.plan.frames:
        return Finding(True, what, "A stream went on where it was.")
    arrived = resumed.connected.get("seen", {}).get("last_event_id", "")
    how = f"arrives as {arrived!r}" if arrived else "does not arrive"
    said = (
        f"The header {how}: a client that comes back sees everything again. Until that"
        " is mended, clients may send ?after= instead."
    )
    return Finding(False, what, said, HEADER_KEPT)


def _survives(measured: Measured) -> Finding:
    what = "Silence is survived."
    silent, seconds = measured.silent, measured.plan.silence
    every = silent.connected.get("heartbeat", 0.0)
    beats = f"a heartbeat comes every {every:g} s (STREAM_HEARTBEAT_SECONDS)"
    if not silent.is_whole:
        said = f"After {silent.seconds:.1f} s the stream was cut; {beats}."
        return Finding(False, what, said, NO_TIMEOUT)
    if every and seconds > every and not silent.heartbeats:
        said = f"It was, but no heartbeat arrived, while {beats}."
        return Finding(False, what, said, UNBUFFERED)
    said = f"{seconds:g} s of it; heartbeats that came: {silent.heartbeats}."
    return Finding(True, what, said)


def _nonce(reading: Reading) -> str:
    return str(reading.connected.get("nonce", ""))


def _end(reading: Reading) -> str:
    return reading.failure or f"it ended after {reading.seconds:.1f} s"
