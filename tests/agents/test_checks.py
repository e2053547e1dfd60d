"""`manage.py check` reports mistakes in the declarations of agents that are valid."""

import pytest
from django.core.checks import Warning

from streaming.agents.checks import check_agents
from tests.agents.conftest import InstallApp
from tests.conftest import ChangeSettings

MODELS = """
    from django.db import models


    class Order(models.Model):
        class Meta:
            permissions = [("refund_order", "Can refund orders")]
"""
AGENTS = """
    from streaming import Agent

    support = Agent("support", permission={agent!r})


    @support.tool(permission={tool!r})
    def refund() -> str:
        '''Refund an order.'''
        return ""
"""
ONE_MORE = """
    from streaming import Agent

    {0} = Agent("{0}")
"""


def found() -> dict[str, str]:
    """Return the texts of the messages and their hints, by id."""
    messages = check_agents(None)
    assert all(isinstance(each, Warning) for each in messages)
    return {str(each.id): f"{each.msg} {each.hint}" for each in messages}


@pytest.mark.parametrize(
    ("agent", "tool"),
    [
        ("shop.refund_order", "shop.delete_order"),
        ("auth.change_user", "streaming.view_run"),
        ("anyone", "authenticated"),
    ],
)
def test_permissions_of_installed_models_pass(
    install: InstallApp, agent: str, tool: str
) -> None:
    install(models=MODELS, agents=AGENTS.format(agent=agent, tool=tool))
    assert found() == {}


@pytest.mark.parametrize(
    ("agent", "tool", "said"),
    [
        ("shop.refund_ordr", "anyone", "The agent 'support' requires"),
        ("anyone", "shop.refund_ordr", "The tool 'refund' of 'support' requires"),
    ],
)
def test_a_permission_that_no_model_declares_is_reported(
    install: InstallApp, agent: str, tool: str, said: str
) -> None:
    install(models=MODELS, agents=AGENTS.format(agent=agent, tool=tool))
    messages = found()
    assert list(messages) == ["streaming.W030"]
    assert messages["streaming.W030"].startswith(f"{said} the permission 'shop.refund_")
    assert "Did you mean 'shop.refund_order'?" in messages["streaming.W030"]


def test_a_function_as_permission_passes(install: InstallApp) -> None:
    install(
        agents="""
        from streaming import Agent

        support = Agent("support", permission=lambda principal: True)
        """
    )
    assert found() == {}


def test_a_second_agent_needs_the_name_of_the_default(
    install: InstallApp, agent_settings: ChangeSettings
) -> None:
    install("shop", agents=ONE_MORE.format("support"))
    assert found() == {}
    install("market", agents=ONE_MORE.format("sales"))
    messages = found()
    assert list(messages) == ["streaming.W031"]
    assert "agents 'support', 'sales'" in messages["streaming.W031"]
    assert "go to 'Agent', the agent of the settings" in messages["streaming.W031"]
    for name in ("sales", "Agent"):
        agent_settings(default_agent=name)
        assert found() == {}
