"""The pages of agents: for callers that may use the agent."""

import pytest
from django.conf import settings
from django.shortcuts import resolve_url

from tests.agents.conftest import InstallApp
from tests.client import Api

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
