"""A live path through Redis: pub/sub, with a channel for each run.

Pub/sub stores nothing, and the event log needs nothing stored: the database has every
event one flush later. Each process has one connection that sends and one that receives.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from streaming.event_log.live.base import (
    LivePathError,
    Offer,
    Piece,
    decode,
    encode,
)
from streaming.event_log.live.reception import Reception

#: Channels belong to the whole server, whichever of its databases a URL names.
PREFIX = b"streaming:live:"
#: Time limit of each response. By default redis-py waits longer and tries again.
TIMEOUT_SECONDS = 0.5
#: The longest wait of a reader for the subscription.
LISTEN_SECONDS = 0.5
#: The longest wait for a message before a look at the runs that were left.
LOOK_SECONDS = 1.0
#: Looks without a message after which the receiving connection is tested.
TEST_LOOKS = 15


class RedisLive:
    """Implements `LiveTail`."""

    carries = True

    def __init__(self, url: str, offer: Offer) -> None:
        self._offer = offer
        self._client = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
        #: The followed runs, by the channels of their pieces.
        self._followed: dict[bytes, str] = {}
        self._left: set[bytes] = set()
        #: Done when Redis has confirmed the subscription.
        self._subscribed: dict[bytes, asyncio.Future[None]] = {}
        self._pubsub: PubSub | None = None
        errors = (RedisError, OSError)
        self._reception = Reception(self._receive, self._followed, errors)

    async def publish(self, pieces: Sequence[Piece]) -> None:
        """Send pieces in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for piece in pieces:
            pipeline.publish(PREFIX + piece.run_id.encode(), encode(piece))
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            # Not its text: it may quote the events, or the password.
            raise LivePathError(type(error).__name__) from None

    async def listen(self, run_id: str) -> None:
        """Subscribe to the channel of a run."""
        channel = PREFIX + run_id.encode()
        self._followed[channel] = run_id
        self._left.discard(channel)
        loop = asyncio.get_running_loop()
        subscribed = self._subscribed.setdefault(channel, loop.create_future())
        self._reception.ensure()
        if self._reception.failing:
            return  # the next connection subscribes to all channels
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(LISTEN_SECONDS):
                if self._pubsub:
                    await self._pubsub.subscribe(channel)
                await asyncio.shield(subscribed)

    def leave(self, run_id: str) -> None:
        """Unsubscribe from the channel of a run, at the next look."""
        channel = PREFIX + run_id.encode()
        self._followed.pop(channel, None)
        self._subscribed.pop(channel, None)
        self._left.add(channel)

    async def aclose(self) -> None:
        """Close both connections."""
        await self._reception.aclose()
        await self._client.aclose()

    async def _receive(self) -> None:
        """Offer pieces until no run is followed. Raises redis-py's errors."""
        pubsub = self._client.pubsub()
        try:
            self._left.clear()
            channels = set(self._followed)
            await pubsub.subscribe(*channels)
            self._pubsub = pubsub
            if added := self._followed.keys() - channels:  # while that was sent
                await pubsub.subscribe(*added)
            silent_looks = 0
            while self._followed:
                message = await pubsub.get_message(timeout=LOOK_SECONDS)
                silent_looks = 0 if message else silent_looks + 1
                if message:
                    self._take(message)
                elif silent_looks == TEST_LOOKS:
                    await pubsub.ping()
                elif silent_looks > TEST_LOOKS:
                    raise RedisTimeout
                if self._left:
                    left, self._left = self._left, set()
                    await pubsub.unsubscribe(*left)
        finally:
            self._pubsub = None
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # untyped there

    def _take(self, message: Mapping[str, Any]) -> None:
        channel = message["channel"]
        if message["type"] == "message":
            run_id = self._followed.get(channel)
            if run_id and (piece := decode(run_id, message["data"])):
                self._offer(piece)
        elif message["type"] == "subscribe":
            self._reception.works()
            waiting = self._subscribed.get(channel)
            if waiting and not waiting.done():
                waiting.set_result(None)
