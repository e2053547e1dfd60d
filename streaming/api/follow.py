"""The bytes of one stream: a run's log, followed and encoded in any wire format."""

import asyncio
import time
from collections.abc import AsyncGenerator

import msgspec

from streaming import conf, runs
from streaming.events import ConnectedInfo, Entry
from streaming.models import Run
from streaming.wire.base import WireFormat

#: Entries that are encoded without a pause while a format skips the frames that its
#: client has: 200 take about a millisecond, and other streams are served in between.
SKIP_BATCH = 200


async def follow(
    run: Run, wire: WireFormat, cursor: int | None = None
) -> AsyncGenerator[bytes]:
    """Yield the bytes of a run's stream; `cursor` is that of a reconnecting client.

    All frames that are ready are sent in one chunk: a client that is behind catches up
    in few sends.
    """
    yield wire.greet(_describe(run, cursor))
    run_id, is_active = run.id, run.is_active
    del run  # its row would be kept as long as the stream is open
    after, skip = (cursor or 0, 0) if wire.stateless else (0, cursor or 0)
    heartbeat, sent_at = conf.get().stream_heartbeat_seconds, time.monotonic()
    encode = wire.encode
    batch: list[Entry] = []
    service = runs.get_service()
    async with service.following(run_id, after, is_active=is_active) as batches:
        async for batch in batches:
            if skip:
                frames, skip = await _skip(wire, batch, skip)
            else:
                frames = [frame for entry in batch for frame in encode(entry)]
            if frames:
                chunk = b"".join(frames)
            elif not batch or time.monotonic() - sent_at >= heartbeat:
                chunk = wire.keep_alive()
            else:
                continue  # no frames yet, and the silence is short
            sent_at = time.monotonic()
            yield chunk
    if batch and batch[-1].is_last and (last := wire.end()):
        yield last


async def _skip(
    wire: WireFormat, batch: list[Entry], skip: int
) -> tuple[list[bytes], int]:
    """Return a batch's frames after the first `skip`, and how many remain to skip."""
    frames: list[bytes] = []
    for start in range(0, len(batch), SKIP_BATCH):
        for entry in batch[start : start + SKIP_BATCH]:
            frames += wire.encode(entry)
        skipped = min(skip, len(frames))
        del frames[:skipped]
        skip -= skipped
        await asyncio.sleep(0)
    return frames, skip


def _describe(run: Run, cursor: int | None) -> ConnectedInfo:
    return ConnectedInfo(
        agent=conf.get().agent_name,
        run_id=run.id,
        org_id=run.organization.org_id,
        conversation_id=run.conversation.conversation_id,
        provider=run.provider,
        model=run.model,
        resumed_after=msgspec.UNSET if cursor is None else cursor,
    )
