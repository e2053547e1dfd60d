"""The limits of an agent, for each of its users."""

import pytest

from streaming.models import Account
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp
from tests.client import API, Api
from tests.conftest import ChangeSettings

AGENTS = """
    from streaming import Agent

    support = Agent("support", limits={"runs_per_minute": 1, "cost_per_day": 2.5})
    other = Agent("other")
"""

pytestmark = pytest.mark.usefixtures("model", "callers")


@pytest.mark.usefixtures("early_in_minute")
async def test_each_user_has_its_own(
    api: Api,
    upstream: StandInProvider,
    install: InstallApp,
    agent_settings: ChangeSettings,
) -> None:
    install(agents=AGENTS)
    agent_settings(model_prices=["test-model=1/1"])
    upstream.reply(*[chat.answer("Hi")] * 3)

    async def ask(user: str, agent: str) -> int:
        body = {"input": "Hi", "agent": agent}
        response = await api.post(f"{API}/run", body, x_user=user)
        if agent == "support":
            assert response.headers["x-ratelimit-limit"] == "1"
            assert response.headers["x-ratelimit-remaining"] == "0"
        return response.status

    assert [await ask("1", "support"), await ask("1", "support")] == [200, 429]
    assert await ask("2", "support") == 200
    assert await ask("1", "other") == 200
    costs = Account.objects.filter(period__startswith="day", cost=15_000)
    keys = [key async for key in costs.order_by("key").values_list("key", flat=True)]
    assert keys == ["agent:support:default:1", "agent:support:default:2"]


async def test_a_limit_of_cost_needs_a_known_price(
    api: Api, install: InstallApp
) -> None:
    install(agents=AGENTS)
    body = {"input": "Hi", "agent": "support"}
    refused = await api.post(f"{API}/run", body, x_user="1")
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert "the agent 'support'" in refused.json["error"]
