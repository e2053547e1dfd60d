"""The frames of a run, for one reader."""

import time
from collections.abc import AsyncGenerator, Collection

import msgspec

from streaming import conf, runs
from streaming.events import ALWAYS_SENT, Connected, ConnectedInfo
from streaming.models import Run
from streaming.wire import native, sse

#: What a client waits before it comes back after a broken connection.
RETRY_MS = 1000


async def follow(
    run: Run, after: int, only: Collection[str] | None, *, resumed: bool = False
) -> AsyncGenerator[bytes]:
    """The frames of a run after a number, `connected` first.

    What is ready for a reader goes out in one piece, so that one who is behind
    catches up in few sends.
    """
    yield _connected(run, after if resumed else None)
    run_id = run.id
    del run  # nothing needs its row for as long as the stream is open
    types = None if only is None else ALWAYS_SENT | set(only)
    heartbeat, sent_at = conf.get().stream_heartbeat_seconds, time.monotonic()
    async with runs.executor().following(run_id, after) as batches:
        async for batch in batches:
            if frames := [e.frame for e in batch if not types or e.type in types]:
                chunk = b"".join(frames)
            elif not batch or time.monotonic() - sent_at >= heartbeat:
                chunk = sse.KEEP_ALIVE
            else:
                continue  # all filtered out, and not silent for long
            sent_at = time.monotonic()
            yield chunk


def _connected(run: Run, resumed_after: int | None) -> bytes:
    info = ConnectedInfo(
        agent=conf.get().agent_name,
        run_id=run.id,
        org_id=run.organization.org_id,
        conversation_id=run.conversation.conversation_id,
        provider=run.provider,
        model=run.model,
        resumed_after=msgspec.UNSET if resumed_after is None else resumed_after,
    )
    data = native.encode(Connected(metadata=info))
    return sse.frame("connected", data, retry_ms=RETRY_MS)
