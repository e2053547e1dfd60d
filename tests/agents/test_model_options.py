"""Declared agents with fallbacks and with output types."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from streaming import Agent
from streaming.agents.loops import make_loops
from streaming.agents.registry import Registry
from streaming.models import Run
from streaming.providers.fallback import FallbackProvider
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp
from tests.client import API, Api

pytestmark = pytest.mark.usefixtures("model")

AGENTS = """
    from typing import Literal

    from pydantic import BaseModel, field_validator

    from streaming import Agent
    from streaming.models import Run


    class Triage(BaseModel):
        urgent: bool
        topic: Literal["order", "other"]

        @field_validator("topic")
        @classmethod
        def look(cls, topic: str) -> str:
            assert Run.objects.exists(), "no run"
            return topic


    triage = Agent(
        "triage",
        output_type=Triage,
        fallbacks=["openai:second", "openai:third"],
        permission="anyone",
    )
"""

GOOD = '{"urgent": true, "topic": "order"}'
OVERLOADED = Reply(b"{}", 503, "application/json")


@pytest.fixture(autouse=True)
def shop(model: None, install: InstallApp) -> None:
    install(agents=AGENTS)


async def test_a_declared_agent_has_its_fallbacks_and_its_output(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(OVERLOADED, OVERLOADED, chat.answer(GOOD))
    response = await api.stream("Sort this.", agent="triage")
    metadata = response.frames[-2].data["metadata"]
    assert metadata["output"] == {"urgent": True, "topic": "order"}
    assert (metadata["provider"], metadata["model"]) == ("openai", "third")
    models = [request.json["model"] for request in upstream.requests]
    assert models == ["test-model", "second", "third"]
    [schema] = {
        request.json["response_format"]["json_schema"]["schema"]["title"]
        for request in upstream.requests
    }
    assert schema == "Triage"
    run = await Run.objects.aget()
    assert (run.agent, run.model) == ("triage", "third")
    state = (await api.get(f"{API}/runs/{run.id}")).json
    assert state["structured_output"] == {"urgent": True, "topic": "order"}


async def test_agents_share_the_memory_of_equal_models() -> None:
    models = {"model": "demo:x", "fallbacks": ["demo:y"]}
    agents = [Agent("a", **models), Agent("b", **models), Agent("c", model="demo:x")]  # type: ignore[arg-type]
    loops = make_loops(Registry(agents))
    a, b, c = (loops.find(key).loop.provider for key in "abc")
    assert isinstance(a, FallbackProvider)
    assert a is b is not c
    await loops.aclose()


@pytest.mark.parametrize("kind", [object(), 3, lambda: None])
def test_a_type_that_cannot_be_described_stops_the_start(kind: object) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Agent 'a': output_type=.*cannot"):
        Agent("a", output_type=kind)


def test_a_tool_with_the_name_of_the_output_stops_the_start(
    install: InstallApp,
) -> None:
    text = """
        from streaming import Agent

        sums = Agent("sums", output_type=int)

        @sums.tool
        def final_output() -> str:
            "Return nothing."
            return ""
    """
    with pytest.raises(ImproperlyConfigured, match="'final_output' is the name"):
        install("other", agents=text)
