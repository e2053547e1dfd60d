"""The models of declared agents: fallbacks and structured output."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from streaming.models import Run
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp
from tests.client import API, Api

AGENTS = """
    from typing import Literal

    from pydantic import BaseModel

    from streaming import Agent

    class Triage(BaseModel):
        urgent: bool
        topic: Literal["order", "invoice", "other"]

    triage = Agent("triage", output_type=Triage)
    patient = Agent("patient", fallbacks=["openai:other-model"])
"""
OVERLOADED = Reply(b'{"error": {"message": "busy"}}', 503, "application/json")

pytestmark = pytest.mark.usefixtures("model", "callers")


async def ask(api: Api, agent: str) -> dict[str, object]:
    body = {"input": "Hi", "agent": agent}
    response = await api.post(f"{API}/stream", body, x_user="7")
    found: dict[str, object] = response.frames[-2].data["metadata"]
    return found


async def test_an_agent_has_a_structured_output(
    api: Api, upstream: StandInProvider, install: InstallApp
) -> None:
    install(agents=AGENTS)
    upstream.reply(chat.answer('{"urgent": true, ', '"topic": "order"}'))
    ended = await ask(api, "triage")
    assert ended["output"] == {"urgent": True, "topic": "order"}
    schema = upstream.requests[0].json["response_format"]["json_schema"]["schema"]
    assert set(schema["properties"]) == {"urgent", "topic"}


async def test_another_model_answers_if_the_first_is_overloaded(
    api: Api, upstream: StandInProvider, install: InstallApp
) -> None:
    install(agents=AGENTS)
    upstream.reply(OVERLOADED, chat.answer("Hello"))
    ended = await ask(api, "patient")
    assert [r.json["model"] for r in upstream.requests] == ["test-model", "other-model"]
    assert ended["model"] == "other-model"
    assert (await Run.objects.aget()).model == "other-model"


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ('fallbacks=["nobody:x"]', "nobody"),
        ("output_type=object()", "output_type"),
    ],
)
def test_an_invalid_one_stops_the_start(
    install: InstallApp, option: str, problem: str
) -> None:
    text = f"from streaming import Agent\nbad = Agent('bad', {option})"
    with pytest.raises(ImproperlyConfigured, match=problem):
        install(agents=text)
