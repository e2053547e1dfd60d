"""The choice of the agent on the demo page of a project with several agents."""

import json
from collections.abc import Iterator
from textwrap import dedent

import pytest
from playwright.async_api import BrowserContext, Locator, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import words
from tests.browser.demo_page import DemoPage, tab
from tests.servers import model_variables, serve

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SETTINGS = """
    from agentsite.settings import *

    INSTALLED_APPS += ["shop"]
"""
AGENTS = """
    from streaming import Agent

    support = Agent(
        "support",
        title="Acme support",
        description="Answers questions about orders.",
        opening_questions=["Where is my order?"],
        permission="anyone",
    )
    guide = Agent("guide", title="Tour guide", permission="anyone")
    closed = Agent("closed", permission=lambda principal: False)
"""


@pytest.fixture(scope="module")
def shop(
    shared_model: StandInProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of a project with three agents, one of which no caller may use."""
    directory = tmp_path_factory.mktemp("shop-server")
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").touch()
    (directory / "shop" / "agents.py").write_text(dedent(AGENTS))
    (directory / "shop_settings.py").write_text(dedent(SETTINGS))
    with serve(
        directory,
        DJANGO_SETTINGS_MODULE="shop_settings",
        PYTHONPATH=str(directory),
        DEFAULT_AGENT="support",
        **model_variables(shared_model),
    ) as server:
        yield server


def choice(page: DemoPage) -> Locator:
    return page.page.get_by_role("combobox", name="Agent")


async def agent_of_question(page: DemoPage, prompt: str) -> str:
    """Ask a question; return the agent that its request names."""
    async with page.page.expect_request("**/stream") as sent:
        await page.run(prompt)
    agent: str = json.loads((await sent.value).post_data or "")["agent"]
    return agent


async def test_the_agent_of_a_new_conversation_is_chosen_and_kept(
    context: BrowserContext, shop: Server, model: StandInProvider
) -> None:
    model.reply(*(Reply(words(f"{number}.")) for number in range(4)))
    async with tab(context, shop) as page:
        heading = page.page.locator("#heading")
        await expect(choice(page).locator("option")).to_have_text(
            ["Acme support", "Tour guide"]
        )
        await expect(heading).to_have_text("Acme support")
        await expect(page.page.get_by_text("questions about orders")).to_be_visible()
        await expect(page.example("Where is my order?")).to_be_visible()

        await choice(page).select_option("Tour guide")
        await expect(heading).to_have_text("Tour guide")
        await expect(page.page).to_have_title("Tour guide")
        await expect(page.example("Where is my order?")).to_be_hidden()
        assert await agent_of_question(page, "Where is the museum?") == "guide"
        await expect(choice(page)).to_be_hidden()
        guided = await page.conversation_id()

        await page.new_button.click()
        await expect(choice(page)).to_have_value("guide")
        await choice(page).select_option("Acme support")
        assert await agent_of_question(page, "Where is my order?") == "support"

        await page.conversations.filter(has_text="museum").click()
        await page.page.wait_for_url(f"**conversation={guided}*")
        await expect(heading).to_have_text("Tour guide")
        assert await agent_of_question(page, "And the theatre?") == "guide"
        await page.page.reload()
        await expect(heading).to_have_text("Tour guide")
        await expect(page.page).to_have_title("Where is the museum? – Tour guide")
        assert await agent_of_question(page, "And the opera?") == "guide"
    async with tab(context, shop) as other:
        await expect(choice(other)).to_have_value("support")


async def test_without_several_agents_there_is_no_choice(scripted: DemoPage) -> None:
    await scripted.shows("ready")
    await expect(scripted.page.locator("#agent-choice")).to_have_count(0)
