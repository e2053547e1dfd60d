"""The stream to measure by, as the server sends it."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping

import msgspec
from django.core import signing

from streaming.wire import native, sse

SALT = "streaming.selftest"
#: A signed plan is good for so long.
MAX_AGE_SECONDS = 300
PATH = "/api/v1/agent/selftest"

encode = msgspec.json.encode


class Plan(msgspec.Struct, frozen=True):
    """Frames at a steady pace; for who has them all, silence with heartbeats."""

    id: str
    frames: int = 30
    pause: float = 0.1
    silence: float = 65.0

    def sign(self) -> str:
        """The plan as a word that only the secret key's owner can make."""
        return signing.dumps(msgspec.to_builtins(self), salt=SALT)


def make_plan(silence: float) -> Plan:
    """A plan of its own, so that no cache has seen it."""
    return Plan(f"selftest_{secrets.token_hex(8)}", silence=silence)


def read_plan(word: str) -> Plan:
    """A signed plan. Raises `signing.BadSignature`."""
    value = signing.loads(word, salt=SALT, max_age=MAX_AGE_SECONDS)
    return msgspec.convert(value, Plan)


async def frames(
    plan: Plan, after: int, heartbeat: float, seen: Mapping[str, str]
) -> AsyncGenerator[bytes]:
    """The frames after a number; `seen` is what arrived of the request."""
    connected = {
        "nonce": secrets.token_hex(8),
        "heartbeat": heartbeat,
        "resumed_after": after,
        "seen": seen,
    }
    yield sse.frame("connected", encode(connected))
    began = time.monotonic()
    for number in range(after + 1, plan.frames + 1):
        await asyncio.sleep(plan.pause)
        sent = {"sent": time.monotonic() - began}
        id = native.event_id(plan.id, number)
        yield sse.frame("selftest", encode(sent), id=id)
    if after >= plan.frames:
        async for comment in _silence(plan.silence, heartbeat):
            yield comment
    yield sse.frame("done", b"{}")


async def _silence(seconds: float, heartbeat: float) -> AsyncGenerator[bytes]:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > heartbeat:
        await asyncio.sleep(heartbeat)
        yield sse.KEEP_ALIVE
    await asyncio.sleep(left)
