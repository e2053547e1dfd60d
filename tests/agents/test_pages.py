"""The pages of agents: for callers that may use the agent."""

import pytest
from django.conf import settings
from django.shortcuts import resolve_url

from tests.agents.conftest import InstallApp
from tests.client import API, Api

AGENTS = """
    from streaming import Agent

    support = Agent("support", title="Acme support")
    guide = Agent("guide", permission="anyone")
    closed = Agent("closed", permission=lambda principal: False)
"""


@pytest.mark.usefixtures("callers")
@pytest.mark.parametrize(
    ("path", "user", "status"),
    [
        ("/a/support/", "7", 200),
        ("/a/support/", "anonymous", 302),
        ("/a/guide/", "anonymous", 200),
        ("/a/closed/", "7", 403),
        ("/a/closed/", "anonymous", 302),
        ("/a/nobody/", "7", 404),
        ("/a/support/?org_id=", "7", 200),
    ],
)
async def test_a_page_is_for_callers_that_may_use_its_agent(
    api: Api, install: InstallApp, path: str, user: str, status: int
) -> None:
    install(agents=AGENTS)
    response = await api.get(path, x_user=user)
    assert response.status == status
    if status == 200:
        assert "default-src 'self'" in response.headers["content-security-policy"]
        name = path.split("/")[2]
        assert f'<agent-chat api="/api/v1/agent/" agent="{name}"' in (
            response.body.decode()
        )
    if status == 302:
        assert (
            response.headers["location"]
            == f"{resolve_url(settings.LOGIN_URL)}?next={path}"
        )


async def test_without_declared_agents_there_is_a_page_of_the_default(api: Api) -> None:
    assert (await api.get("/a/Agent/")).status == 200
    assert (await api.get("/a/Agent/?org_id=")).status == 404


RESTRICTED = """
    from streaming import Agent

    hr = Agent(
        "hr",
        title="Reorganization",
        opening_questions=["Which teams merge?"],
        permission=lambda principal: principal.user == "7",
    )
"""


@pytest.mark.usefixtures("callers")
@pytest.mark.parametrize(
    ("user", "is_shown"), [("7", True), ("8", False), ("anonymous", False)]
)
async def test_the_demo_page_describes_a_restricted_agent_to_its_callers_only(
    api: Api, install: InstallApp, user: str, is_shown: bool
) -> None:
    install(agents=RESTRICTED)
    page = await api.get("/", x_user=user)
    assert page.status == 200
    for text in ("Reorganization", "Which teams merge?"):
        assert (text in page.body.decode()) is is_shown


@pytest.mark.usefixtures("callers")
async def test_an_anonymous_caller_cannot_tell_restricted_agents_from_unknown_ones(
    api: Api, install: InstallApp
) -> None:
    install(agents=RESTRICTED)

    async def responses(name: str) -> list[tuple[int, bytes]]:
        found = [
            await api.get(f"{API}/metadata?agent={name}", x_user="anonymous"),
            await api.get(f"/a/{name}/", x_user="anonymous"),
            await api.post(
                f"{API}/run", {"input": "Hi", "agent": name}, x_user="anonymous"
            ),
        ]
        return [(each.status, each.body) for each in found]

    known = await responses("hr")
    assert [status for status, _ in known] == [401, 302, 401]
    assert await responses("no") == known


@pytest.mark.usefixtures("callers")
async def test_the_metadata_of_a_restricted_agent_needs_the_scope_to_read(
    api: Api, install: InstallApp
) -> None:
    install(agents=RESTRICTED)
    path = f"{API}/metadata?agent=hr"
    for scope, status in (("run", 403), ("read", 200)):
        described = await api.get(path, x_user="7", x_scope=scope)
        assert described.status == status
