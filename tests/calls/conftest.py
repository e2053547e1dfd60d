"""Agents that the tests of calls declare, and the model of their runs."""

from importlib import import_module
from types import ModuleType

import pytest

from streaming import Agent
from tests.agents.conftest import InstallApp, apps_directory, install  # noqa: F401

AGENTS = """
    from streaming import Agent, Context

    support = Agent("support", instructions="You help customers with orders.")
    triage = Agent("triage", max_iterations=2)

    @support.tool
    def basket(context: Context) -> str:
        '''Return the articles in the basket.'''
        return f"{context.deps['articles']} for {context.organization}"
"""


@pytest.fixture
def shop(install: InstallApp) -> ModuleType:  # noqa: F811
    """The module with the agents."""
    install("shop", agents=AGENTS)
    return import_module("shop.agents")


@pytest.fixture
def support(shop: ModuleType, model: None) -> Agent:
    """An agent whose model is the stand-in."""
    agent: Agent = shop.support
    return agent
