"""The bytes of one stream: a run's log, followed and encoded in any wire format."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import msgspec

from streaming import conf, runs
from streaming.agents import registry
from streaming.auth.revocation import StreamAccess
from streaming.events import ConnectedInfo, Entry
from streaming.exceptions import Unauthenticated
from streaming.models import Run, RunStatus
from streaming.principals import Principal
from streaming.runs import RunService
from streaming.telemetry.metrics import OPEN_STREAMS, READER_LAG_SECONDS
from streaming.wire.base import WireFormat

#: Entries that are encoded without a pause while a format skips the frames that its
#: client already has. Other streams are served between two of these batches.
SKIP_BATCH = 200
#: Seconds between two samples of the lag of a stream.
SAMPLE_SECONDS = 5.0
REVOKED = "The credentials of this stream are no longer valid; the run continues."


def follow(
    run: Run,
    wire: WireFormat,
    principal: Principal | None = None,
    cursor: int | None = None,
    *,
    message_id: str = "",
    service: RunService | None = None,
) -> AsyncGenerator[bytes]:
    """Return the bytes of a run's stream, in chunks.

    The stream ends early if the credential of `principal` is revoked. `cursor` is the
    position of a client that reconnects: an entry's number if `wire` is stateless, else
    the number of a frame; None on a first connection. `message_id` is that of the text
    with which the request steers the run. `service` is that of the process
    if it is not given.
    """
    info = ConnectedInfo(
        agent=registry.display_name(run.agent),
        run_id=run.id,
        org_id=run.organization.org_id,
        conversation_id=run.conversation.conversation_id,
        provider=run.provider,
        model=run.model,
        resumed_after=msgspec.UNSET if cursor is None else cursor,
    )
    if run.status == RunStatus.PENDING:
        info.status, info.position = run.status, run.position or 1
    if message_id:
        info.message_id = message_id
    sampler = LagSampler(is_active=not run.has_ended)
    after, skip = (cursor or 0, 0) if wire.stateless else (0, cursor or 0)
    # The row is not passed on: it would be kept as long as the stream is open.
    service = service or runs.get_service()
    following = service.following(run.id, after, is_active=not run.has_ended)
    heartbeat = conf.get().stream_heartbeat_seconds
    return encode_log(
        wire, info, following, skip, heartbeat, principal, sampler=sampler
    )


async def encode_log(
    wire: WireFormat,
    info: ConnectedInfo,
    following: AbstractAsyncContextManager[AsyncGenerator[list[Entry]]],
    skip: int,
    heartbeat: float,
    principal: Principal | None = None,
    *,
    sampler: "LagSampler | None" = None,
) -> AsyncGenerator[bytes]:
    """Yield the greeting, then the frames of a log after the first `skip`.

    All frames that are ready are sent in one chunk: a client that is behind catches up
    in few sends. After `heartbeat` seconds without frames a keep-alive is sent.
    """
    yield wire.greet(info)
    sent_at = time.monotonic()
    encode = wire.encode
    batch: list[Entry] = []
    sample_at = sampler.due_at if sampler else math.inf
    async with following as batches:
        access = StreamAccess(principal, batches)
        with access, OPEN_STREAMS.held():
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
                if sent_at >= sample_at and sampler:
                    sample_at = sampler.observe(batch)
                yield chunk
    if batch and batch[-1].is_last:
        if last := wire.end():
            yield last
    elif access.revoked:
        yield wire.interrupt(Unauthenticated(REVOKED))


class LagSampler:
    """Samples of the lag of one stream: a comparison of times between two of them.

    The log of a run that has ended is replayed, so that its events do not lag.
    """

    def __init__(self, *, is_active: bool) -> None:
        #: The time of the next sample (time.monotonic()). The first events of a reader
        #: that reconnects are old.
        self.due_at = time.monotonic() + SAMPLE_SECONDS if is_active else math.inf

    def observe(self, batch: list[Entry]) -> float:
        """Observe the age of the newest of some entries; return the next time."""
        if batch:
            event = _decode_timed(batch[-1].data)
            lag = time.time() - event.timestamp / 1000
            READER_LAG_SECONDS.observe(max(lag, 0.0))
        return time.monotonic() + SAMPLE_SECONDS


class _Timed(msgspec.Struct):
    """The time of an event, in milliseconds."""

    timestamp: int


_decode_timed = msgspec.json.Decoder(_Timed).decode


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
