"""An agent for anyone, in a project whose other agents need a login."""

import pytest
from django.test import AsyncClient

from streaming.testing.provider import StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp
from tests.client import API, Api
from tests.conftest import ChangeSettings

AGENTS = """
    from streaming import Agent

    guide = Agent("guide", permission="anyone")
    support = Agent("support")
"""
ASK = {"input": "Hi", "conversation_id": "c"}


@pytest.fixture(autouse=True)
def closed(model: None, agent_settings: ChangeSettings) -> None:
    """The API authenticates by sessions."""
    agent_settings(authentication=["streaming.auth.session"])


async def test_anyone_may_use_it_and_no_other_agent(
    api: Api, upstream: StandInProvider, install: InstallApp
) -> None:
    install(agents=AGENTS)
    upstream.reply(chat.answer("Hello"), chat.answer("Hello"))
    guided = await api.post(f"{API}/run", {**ASK, "agent": "guide"})
    assert guided.status == 200
    cookie = guided.headers["set-cookie"].partition(";")[0]
    for agent in ({"agent": "support"}, {}):
        refused = await api.post(f"{API}/run", ASK | agent, cookie=cookie)
        assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
    run = f"{API}/runs/{guided.json['run_id']}"
    assert (await api.get(run, cookie=cookie)).status == 200
    assert (await api.get(run)).status == 404
    listed = await api.get("/api/v1/agents", cookie=cookie)
    assert [agent["name"] for agent in listed.json["agents"]] == ["guide"]
    assert "streaming_anonymous" in (await AsyncClient().get("/a/guide/")).cookies


async def test_without_such_an_agent_callers_need_a_login(
    api: Api, install: InstallApp
) -> None:
    install(agents=AGENTS.replace('"anyone"', '"authenticated"'))
    for path in (f"{API}/run", f"{API}/stream"):
        refused = await api.post(path, ASK)
        assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
        assert "set-cookie" not in refused.headers
    assert (await api.get(f"{API}/metadata")).status == 200
    known = await api.get(f"{API}/metadata?agent=support")
    unknown = await api.get(f"{API}/metadata?agent=none")
    assert (known.status, known.body) == (unknown.status, unknown.body)
    assert known.status == 401
