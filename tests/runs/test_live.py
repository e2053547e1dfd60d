"""A reader in another process receives events before they are durable."""

import asyncio
from pathlib import Path

import pytest

from streaming import conf
from streaming.agents.loops import make_loops
from streaming.models import EventSegment
from streaming.runs import RunService
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api
from tests.conftest import ChangeSettings
from tests.event_log.live_paths import PATIENCE, redis_server

pytestmark = pytest.mark.usefixtures("model")
#: No flush comes in a test.
NEVER_MS = 3_600_000


async def see_an_event_elsewhere(api: Api, upstream: StandInProvider) -> None:
    upstream.reply(Reply(chat.pieces("early"), end="hang"))
    other = RunService(make_loops(), conf.get(), database.default, name="other")
    async with (
        asyncio.timeout(PATIENCE),
        api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream,
    ):
        await stream.until("content")
        run_id = stream.response.headers["x-run-id"]
        async with other.following(run_id, 0, is_active=True) as batches:
            async for batch in batches:
                if any(entry.type == "content" for entry in batch):
                    break
        assert not await EventSegment.objects.aexists()
        await api.post(f"{API}/runs/{run_id}/cancel")
        await stream.end()
    await other.aclose()


async def test_an_event_comes_through_redis(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings, tmp_path: Path
) -> None:
    with redis_server(tmp_path) as server:
        url = f"redis://127.0.0.1:{server.port}"
        agent_settings(redis_url=url, event_flush_ms=NEVER_MS)
        await see_an_event_elsewhere(api, upstream)


@pytest.mark.postgresql
async def test_an_event_comes_through_notify(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(event_flush_ms=NEVER_MS)
    await see_an_event_elsewhere(api, upstream)
