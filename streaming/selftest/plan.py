"""The test stream, as the server sends it."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping

import msgspec
from django.core import signing

from streaming.wire import native, sse

SALT = "streaming.selftest"
#: Lifetime of a signed plan.
MAX_AGE_SECONDS = 300
PATH = "/api/v1/agent/selftest"

encode = msgspec.json.encode


class Plan(msgspec.Struct, frozen=True):
    """Frames at a steady pace; after all of them, silence with heartbeats."""

    id: str
    frames: int = 30
    pause: float = 0.1
    silence: float = 65.0

    def sign(self) -> str:
        """Return the plan as a token; to make one takes the secret key."""
        return signing.dumps(msgspec.to_builtins(self), salt=SALT)


def make_plan(silence: float) -> Plan:
    """Return a unique plan, which no cache holds."""
    return Plan(f"selftest_{secrets.token_hex(8)}", silence=silence)


def read_plan(token: str) -> Plan:
    """Read a signed plan. Raises `signing.BadSignature`."""
    value = signing.loads(token, salt=SALT, max_age=MAX_AGE_SECONDS)
    return msgspec.convert(value, Plan)


async def frames(
    plan: Plan, after: int, heartbeat: float, seen: Mapping[str, str]
) -> AsyncGenerator[bytes]:
    """Yield the frames after a number; `seen` are facts of the request received."""
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
