"""Callers for whom a gateway vouches by headers."""

import json

import pytest

from streaming.models import Run
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp, apps_directory, install
from tests.auth.conftest import Caller, make_user
from tests.client import API, Api
from tests.conftest import ChangeSettings

HI = {"input": "Hi", "conversation_id": "c"}
LIST = f"{API}/conversations"
HEADERS = "streaming.auth.header('X-Org-Id', user='X-User-Id')"

LOCAL_USERS = "streaming.auth.header('X-Org-Id', user='X-User-Id', users=True)"
AGENTS = """
    from streaming import Agent, Context

    support = Agent("support")

    @support.tool
    def look(context: Context) -> str:
        \"\"\"Return the name of the user.\"\"\"
        return str(context.user)

    @support.tool(permission="shop.refund")
    def refund() -> str:
        \"\"\"Refund an order.\"\"\"
        return "refunded"
"""

__all__ = ["apps_directory", "install"]

pytestmark = pytest.mark.usefixtures("model")


async def test_the_headers_name_organization_and_user(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=[HEADERS])
    upstream.reply(chat.answer("Hi"))
    alice = Caller(api, x_org_id="acme", x_user_id="alice")
    assert (await alice("POST", f"{API}/run", HI)).json["org_id"] == "acme"
    run = await Run.objects.aget()
    assert (run.user, run.owner, run.credential) == ("alice", "alice", "")
    assert (await alice("GET", f"{LIST}/c")).status == 200
    for stranger in (
        Caller(api, x_org_id="acme", x_user_id="bob"),
        Caller(api, x_org_id="umbrella", x_user_id="alice"),
    ):
        foreign = await stranger("GET", f"{LIST}/c")
        missing = await stranger("GET", f"{LIST}/d")
        assert (foreign.status, foreign.body) == (404, missing.body)


async def test_without_a_header_for_users_an_organization_shares(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=["streaming.auth.header('X-Org-Id')"])
    upstream.reply(chat.answer("Hi"))
    acme = Caller(api, x_org_id="acme")
    assert (await acme("POST", f"{API}/run", HI)).status == 200
    assert (await Run.objects.aget()).owner == ""
    assert (await Caller(api)("GET", LIST)).status == 401


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"x_org_id": ""}, "X-Org-Id"),
        ({"x_org_id": "a" * 129}, "X-Org-Id"),
        ({"x_org_id": "a\tb"}, "X-Org-Id"),
        ({"x_org_id": "acme", "x_user_id": "a" * 60}, "X-User-Id"),
        ({"x_org_id": "acme"}, "X-User-Id"),
    ],
)
async def test_a_header_without_a_usable_value_is_named(
    api: Api, agent_settings: ChangeSettings, headers: dict[str, str], field: str
) -> None:
    agent_settings(authentication=[HEADERS])
    refused = await Caller(api, **headers)("GET", LIST)
    assert (refused.status, refused.json["details"][0]["field"]) == (400, field)


@pytest.mark.parametrize("secret", [{}, {"x_gateway_secret": "é"}])
async def test_a_caller_past_the_gateway_is_refused(
    api: Api, agent_settings: ChangeSettings, secret: dict[str, str]
) -> None:
    agent_settings(authentication=[HEADERS], gateway_secret="between us")
    acme = Caller(api, x_org_id="acme", x_user_id="alice")
    refused = await acme.with_headers(**secret)("GET", LIST)
    assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
    assert "X-Gateway-Secret" in refused.json["error"]
    vouched = acme.with_headers(x_gateway_secret="between us")
    assert (await vouched("GET", LIST)).status == 200


@pytest.mark.parametrize(
    ("authenticator", "name", "tools"),
    [(HEADERS, "None", ["look"]), (LOCAL_USERS, "root", ["look", "refund"])],
)
async def test_only_an_option_makes_the_ids_of_a_gateway_those_of_local_users(
    api: Api,
    upstream: StandInProvider,
    install: InstallApp,
    agent_settings: ChangeSettings,
    authenticator: str,
    name: str,
    tools: list[str],
) -> None:
    install(agents=AGENTS)
    agent_settings(authentication=[authenticator])
    root = await make_user("root", is_superuser=True)
    upstream.reply(chat.tool_calls(("1", "look", {})), chat.answer("Done"))
    caller = Caller(api, x_org_id="acme", x_user_id=f"{root.pk}")
    assert (await caller("POST", f"{API}/run", HI)).status == 200
    first, second = [json.loads(request.body) for request in upstream.requests]
    assert [tool["function"]["name"] for tool in first["tools"]] == tools
    assert second["messages"][-1]["content"] == name
    run = await Run.objects.aget()
    assert (run.user, run.owner) == (str(root.pk), str(root.pk))


async def test_a_gateway_of_local_users_may_name_active_ones_only(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=[LOCAL_USERS])
    gone = await make_user("gone", is_active=False)
    for id in (f"{gone.pk}", "999999", "not-a-number"):
        refused = await Caller(api, x_org_id="acme", x_user_id=id)("GET", LIST)
        assert (refused.status, refused.json["error"]) == (
            401,
            "X-User-Id names no active user.",
        )
