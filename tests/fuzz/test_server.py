"""Damaged provider streams through the whole server: HTTP, agent and database."""

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from streaming.models import Message, Run, RunStatus
from streaming.testing.provider import Reply, StandInProvider
from tests import campaign
from tests.client import Api as Client
from tests.conftest import ChangeSettings
from tests.fuzz.streams import APIS, Api, damaged_stream, good_stream

STREAMS_PER_SEED = 20
ENDS = {200, 400, 502, 504}


class Scripted(StandInProvider):
    """A provider that answers with the current reply, whatever it is sent."""

    def __init__(self) -> None:
        super().__init__(lambda _: self.current, keep_requests=False)
        self.current = Reply()


@pytest_asyncio.fixture
async def scripted() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


@pytest.fixture(params=APIS)
def api_name(
    request: pytest.FixtureRequest, scripted: Scripted, agent_settings: ChangeSettings
) -> Api:
    """The model is the stand-in, behind one of the APIs."""
    name: Api = request.param
    if name == "messages":
        agent_settings(
            model="anthropic:claude-test",
            anthropic_api_key="sk-test",
            anthropic_base_url=scripted.url,
        )
    else:
        agent_settings(
            model="openai:test-model",
            openai_api=name,
            openai_api_key="sk-test",
            openai_base_url=scripted.url,
        )
    agent_settings(llm_max_retries=0, llm_first_token_timeout_seconds=2.0)
    return name


@pytest.mark.parametrize("seed", campaign.seeds(2))
async def test_a_damaged_stream_spoils_no_conversation(
    api: Client, scripted: Scripted, api_name: Api, seed: int
) -> None:
    for number in range(STREAMS_PER_SEED):
        name = f"server {api_name} {seed} {number}"
        chance = random.Random(name)
        body = damaged_stream(chance, api_name)
        scripted.current = Reply(body)
        try:
            first = await api.run("Hi?", conversation_id=name, max_iterations=2)
            assert first.status in ENDS, first.body
            assert first.json.get("code") != "internal_error"
            run = await Run.objects.alatest("created_at")
            assert run.status in (RunStatus.COMPLETED, RunStatus.FAILED)
            scripted.current = Reply(good_stream(api_name))
            second = await api.run("And?", conversation_id=name)
            assert second.status == 200, second.body
            assert second.json["output"] == "Good"
            messages = Message.objects.filter(conversation__conversation_id=name)
            assert await messages.acount() >= 3
        except BaseException as error:
            error.add_note(f"Stream {name!r}: {body!r}")
            raise
