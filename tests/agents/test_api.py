"""Agents in the API: their list, the choice of one, and their permissions."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from streaming.api.schemas import RunBody
from streaming.models import Run
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp
from tests.client import API, Api
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model", "callers")

AGENTS = """
    from streaming import Agent, Context

    support = Agent(
        "support",
        instructions="You help customers.",
        title="Acme support",
        description="Answers questions about orders.",
        opening_questions=["Where is my order?"],
        max_iterations=3,
    )

    @support.tool
    def order_status(number: int) -> str:
        \"\"\"Tell where an order is.\"\"\"
        return f"Order {number} is on its way."

    @support.tool(permission="streaming.view_run", title="Refund")
    def refund(number: int) -> str:
        \"\"\"Refund an order.\"\"\"
        return f"Order {number} was refunded."

    back_office = Agent("back-office", permission="streaming.view_run")
    guide = Agent("guide", permission="anyone")
"""


@pytest.fixture
def shop(install: InstallApp, agent_settings: ChangeSettings) -> None:
    """A project with three agents, of which `support` is the default."""
    agent_settings(default_agent="support")
    install(agents=AGENTS)


async def make_user(*codenames: str) -> str:
    """Return the key of a new user."""
    user = await User.objects.acreate_user(f"user{await User.objects.acount()}")
    async for permission in Permission.objects.filter(codename__in=codenames):
        await user.user_permissions.aadd(permission)
    return str(user.pk)


async def listed(api: Api, user: str) -> list[Any]:
    response = await api.get("/api/v1/agents", x_user=user)
    assert response.status == 200
    agents: list[Any] = response.json["agents"]
    return agents


async def test_without_declared_agents_the_list_has_that_of_the_settings(
    api: Api,
) -> None:
    [agent] = await listed(api, "")
    metadata = (await api.get(f"{API}/metadata")).json
    for field in ("name", "description", "provider", "model", "tools"):
        assert agent[field] == metadata[field]
    assert agent["default"] is True


@pytest.mark.usefixtures("shop")
async def test_the_list_has_the_agents_and_tools_that_the_caller_may_use(
    api: Api,
) -> None:
    agents = await listed(api, await make_user())
    assert [(a["name"], a["default"]) for a in agents] == [
        ("support", True),
        ("guide", False),
    ]
    support = agents[0]
    assert support == {
        "name": "support",
        "title": "Acme support",
        "description": "Answers questions about orders.",
        "opening_questions": ["Where is my order?"],
        "provider": "openai",
        "model": "test-model",
        "tools": [
            {
                "name": "order_status",
                "description": "Tell where an order is.",
                "parameters": support["tools"][0]["parameters"],
            }
        ],
        "default": True,
    }
    agents = await listed(api, await make_user("view_run"))
    assert [a["name"] for a in agents] == ["support", "back-office", "guide"]
    assert [tool["name"] for tool in agents[0]["tools"]] == ["order_status", "refund"]
    assert agents[0]["tools"][1]["title"] == "Refund"
    assert [a["name"] for a in await listed(api, "anonymous")] == ["guide"]


@pytest.mark.usefixtures("shop")
async def test_a_run_is_of_the_agent_that_its_request_names(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hello"), chat.answer("Hello"))
    user = await make_user()
    default = await api.post(f"{API}/run", {"input": "Hi"}, x_user=user)
    other = await api.post(
        f"{API}/stream", {"input": "Hi", "agent": "guide"}, x_user=user
    )
    assert default.json["agent"] == "support"
    assert other.frames[0].data["metadata"]["agent"] == "guide"
    stored = {run.agent async for run in Run.objects.all()}
    assert stored == {"support", "guide"}
    sent = [request.json for request in upstream.requests]
    assert sent[0]["messages"][0]["content"] == "You help customers."
    assert [tool["function"]["name"] for tool in sent[0]["tools"]] == ["order_status"]
    assert "tools" not in sent[1]
    run_id = default.json["run_id"]
    detail = await api.get(f"{API}/runs/{run_id}", x_user=user)
    assert detail.json["agent"] == "support"
    assert detail.json["max_iterations"] == 3


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("agent", "user", "status", "code"),
    [
        ("support", "user", 200, ""),
        ("support", "anonymous", 401, "unauthenticated"),
        ("back-office", "permitted", 200, ""),
        ("back-office", "user", 403, "forbidden"),
        ("back-office", "anonymous", 401, "unauthenticated"),
        ("guide", "anonymous", 200, ""),
        ("nobody", "user", 400, "invalid_request"),
        ("Agent", "user", 400, "invalid_request"),
        ("", "user", 400, "invalid_request"),
        (5, "user", 400, "invalid_request"),
    ],
)
async def test_the_agent_decides_on_its_callers(
    api: Api,
    upstream: StandInProvider,
    agent: object,
    user: str,
    status: int,
    code: str,
) -> None:
    upstream.reply(chat.answer("Hello"))
    if user != "anonymous":
        user = await make_user(*(["view_run"] if user == "permitted" else []))
    body = {"input": "Hi", "agent": agent}
    for name in ("run", "stream"):
        upstream.reply(chat.answer("Hello"))
        response = await api.post(f"{API}/{name}", body, x_user=user)
        assert response.status == status
        if code:
            assert response.json["code"] == code
        if status == 400:
            assert [d["field"] for d in response.json["details"]] == ["agent"]
    assert await Run.objects.acount() == (2 if status == 200 else 0)


@pytest.mark.usefixtures("shop")
async def test_the_metadata_of_an_agent_is_as_public_as_the_agent(api: Api) -> None:
    guide = await api.get(f"{API}/metadata?agent=guide", x_user="anonymous")
    assert (guide.status, guide.json["name"]) == (200, "guide")
    default = f"{API}/metadata"
    assert (await api.get(default, x_user="anonymous")).status == 401
    user = await make_user()
    metadata = (await api.get(default, x_user=user)).json
    assert metadata["name"] == "support"
    assert [tool["name"] for tool in metadata["tools"]] == ["order_status"]
    refused = await api.get(f"{default}?agent=back-office", x_user=user)
    assert refused.json["code"] == "forbidden"
    unknown = await api.get(f"{default}?agent=nobody", x_user=user)
    assert unknown.json["details"][0]["field"] == "agent"


@pytest.mark.usefixtures("shop")
async def test_the_health_names_the_default_agent(api: Api) -> None:
    assert (await api.get("/health")).json["agent"] == "support"


def test_the_hash_of_a_body_without_agent_has_not_changed() -> None:
    body = RunBody(input="Hi", org_id="acme", context={"b": "2", "a": "1"})
    assert body.request_hash == (
        "aa35614949efe191bb9aeac2c09aab093333ab66b230579f996c09a58146aadc"
    )
    assert RunBody(input="Hi", agent="support").request_hash != (
        RunBody(input="Hi").request_hash
    )


@pytest.mark.usefixtures("shop")
async def test_the_same_key_with_another_agent_is_a_conflict(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hello"))
    headers = {"idempotency_key": "k", "x_user": await make_user()}
    body = {"input": "Hi", "agent": "support"}
    first = await api.post(f"{API}/run", body, **headers)
    again = await api.post(f"{API}/run", body, **headers)
    assert again.json["run_id"] == first.json["run_id"]
    other = await api.post(f"{API}/run", body | {"agent": "guide"}, **headers)
    assert other.json["code"] == "idempotency_conflict"


@pytest.mark.usefixtures("shop")
async def test_the_number_of_iterations_is_the_agents_unless_the_body_sets_it(
    api: Api, upstream: StandInProvider
) -> None:
    user = await make_user()
    for body in ({}, {"max_iterations": 4}, {"agent": "guide"}):
        upstream.reply(chat.answer("Hello"))
        await api.post(f"{API}/run", {"input": "Hi"} | body, x_user=user)
    found = Run.objects.order_by("created_at").values_list("max_iterations", flat=True)
    assert [number async for number in found] == [3, 4, 5]


@pytest.mark.usefixtures("shop")
async def test_a_tool_that_is_not_permitted_is_not_called(
    api: Api, upstream: StandInProvider
) -> None:
    for user, result in (
        (await make_user(), "There is no such tool. The tools are: order_status."),
        (await make_user("view_run"), "Order 7 was refunded."),
    ):
        upstream.reply(
            chat.tool_calls(("c1", "refund", {"number": 7})), chat.answer("Done")
        )
        response = await api.post(f"{API}/stream", {"input": "Refund 7"}, x_user=user)
        [frame] = [f for f in response.frames if f.event == "tool_result"]
        assert frame.data["tool_call"]["result"] == result
