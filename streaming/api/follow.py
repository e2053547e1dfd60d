"""The bytes of one stream: a run's log, followed and encoded in any wire format."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import msgspec

from streaming import conf, runs
from streaming.events import ConnectedInfo, Entry
from streaming.models import Run
from streaming.wire.base import WireFormat

#: Entries that are encoded without a pause while a format skips the frames that its
#: client already has. Other streams are served between two of these batches.
SKIP_BATCH = 200


def follow(
    run: Run, wire: WireFormat, cursor: int | None = None
) -> AsyncGenerator[bytes]:
    """Return the bytes of a run's stream, in chunks.

    `cursor` is the position of a client that reconnects: an entry's number if `wire` is
    stateless, else the number of a frame; None on a first connection.
    """
    info = ConnectedInfo(
        agent=conf.get().agent_name,
        run_id=run.id,
        org_id=run.organization.org_id,
        conversation_id=run.conversation.conversation_id,
        provider=run.provider,
        model=run.model,
        resumed_after=msgspec.UNSET if cursor is None else cursor,
    )
    after, skip = (cursor or 0, 0) if wire.stateless else (0, cursor or 0)
    # The row is not passed on: it would be kept as long as the stream is open.
    following = runs.get_service().following(run.id, after, is_active=run.is_active)
    return encode_log(wire, info, following, skip, conf.get().stream_heartbeat_seconds)


async def encode_log(
    wire: WireFormat,
    info: ConnectedInfo,
    following: AbstractAsyncContextManager[AsyncGenerator[list[Entry]]],
    skip: int,
    heartbeat: float,
) -> AsyncGenerator[bytes]:
    """Yield the greeting, then the frames of a log after the first `skip`.

    All frames that are ready are sent in one chunk: a client that is behind catches up
    in few sends. After `heartbeat` seconds without frames a keep-alive is sent.
    """
    yield wire.greet(info)
    sent_at = time.monotonic()
    encode = wire.encode
    batch: list[Entry] = []
    async with following as batches:
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
                continue  # these entries have no frames, and the silence is short
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
