"""The agents of installed apps are found at start; mistakes stop it with a sentence."""

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from streaming import Agent, conf
from streaming.agents import registry
from streaming.agents.registry import Registry, UnknownAgent
from tests.agents.conftest import InstallApp
from tests.conftest import ChangeSettings
from tests.shop import ShopOptions

SUPPORT = """
    from streaming import Agent

    support = Agent("support")
"""
SALES = SUPPORT.replace("support", "sales")


def test_without_declared_agents_that_of_the_settings_is_the_default() -> None:
    agents = registry.get()
    assert [*agents.offered] == ["Agent"]
    default = agents.default
    assert (default.name, default.permission) == ("Agent", "authenticated")
    assert [tool.name for tool in default.tools] == ["calculator", "current_time"]
    assert agents.key(default) == ""


def test_beside_declared_agents_that_of_the_settings_is_not_for_anyone(
    install: InstallApp, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=["streaming.auth.anonymous"])
    assert registry.get().default.permission == "anyone"
    install(agents=SUPPORT)
    install("market", agents=SALES)
    assert registry.get().default.name == "Agent"
    assert registry.get().default.permission == "authenticated"


def test_the_agent_of_the_settings_follows_the_settings(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(agent_name="My bot", agent_system_prompt="Be brief.")
    default = registry.get().default
    assert (default.name, default.system_prompt) == ("My bot", "Be brief.")
    assert registry.get().select("My bot") is default


def test_the_only_declared_agent_is_the_default_and_the_only_one(
    install: InstallApp,
) -> None:
    install(agents=SUPPORT)
    agents = registry.get()
    assert [*agents.offered] == ["support"]
    assert agents.select(None) is agents.select("support") is agents.default
    assert agents.key(agents.default) == "support"
    with pytest.raises(UnknownAgent):
        agents.select("Agent")


def test_of_several_agents_none_is_the_default_unless_the_setting_names_it(
    install: InstallApp, agent_settings: ChangeSettings
) -> None:
    install(agents=SUPPORT)
    install("market", agents=SALES)
    assert [*registry.get().offered] == ["Agent", "support", "sales"]
    agent_settings(default_agent="sales")
    assert [*registry.get().offered] == ["sales", "support"]
    agent_settings(default_agent="Agent")
    assert [*registry.get().offered] == ["Agent", "support", "sales"]


def test_an_agent_that_another_app_imports_is_found_once(install: InstallApp) -> None:
    install(agents=SUPPORT)
    install("market", agents="from shop.agents import support")
    assert [*registry.get().declared] == ["support"]


def test_an_app_without_agents_changes_nothing(install: InstallApp) -> None:
    install("market", views="")
    assert [*registry.get().offered] == ["Agent"]


def test_the_tools_of_a_discovered_agent_are_complete(install: InstallApp) -> None:
    install(agents=SUPPORT)
    with pytest.raises(ImproperlyConfigured, match="takes no more tools"):
        registry.get().default.instructions(lambda: "")


@pytest.mark.parametrize(
    ("agents", "sentence"),
    [
        (
            "from streaming import Agent\na = Agent('two words')",
            "Agent 'two words': its name must be letters, digits, _ and -, at most 64.",
        ),
        (
            f"from streaming import Agent\na = Agent({'x' * 65!r})",
            f"Agent {'x' * 65!r}: its name must be",
        ),
        (
            "from streaming import Agent\na = Agent('a', model='opneai:gpt-6-luna')",
            "Agent 'a': model='opneai:gpt-6-luna': expected one of 'anthropic'",
        ),
        (
            "from streaming import Agent\na = Agent('a', model='shop.Nothing:x')",
            "Agent 'a': model='shop.Nothing:x': expected the dotted path of a class",
        ),
        (
            "from streaming import Agent\na = Agent('a', model='openai:gpt-6-luna')",
            "Agent 'a': OPENAI_API_KEY is not set, and the provider 'openai' needs it",
        ),
        (
            "from streaming import Agent\na = Agent('a', fallbacks=['anthropic'])",
            "Agent 'a': ANTHROPIC_API_KEY is not set",
        ),
        (
            "from streaming import Agent\na = Agent('a', fallbacks=['opneai:x'])",
            "Agent 'a': fallbacks='opneai:x': expected one of 'anthropic'",
        ),
        (
            "from streaming import Agent\na = Agent('a', approval=True)",
            "shop.agents: Agent 'a': unknown option 'approval'",
        ),
        (
            """
            from streaming import Agent
            a = Agent("a")
            @a.tool
            def fetch(): ...
            """,
            "shop.agents: Agent 'a': fetch needs a docstring to describe it",
        ),
        (
            """
            from streaming import tool
            @tool
            def fetch(number):
                \"\"\"Fetch it.\"\"\"
            """,
            "shop.agents: fetch: parameter 'number' has no type annotation.",
        ),
        (
            """
            from streaming import Agent, tool
            @tool
            def fetch() -> None:
                "Fetch it."
            a = Agent("a", tools=[fetch])
            @a.tool(name="fetch")
            def other() -> None:
                "Fetch it otherwise."
            """,
            "Agent 'a': Two tools are named 'fetch': shop.agents.fetch and "
            "shop.agents.other.",
        ),
        (
            "from streaming import Agent\na = Agent('a')\nb = Agent('a')",
            "Agent 'a': shop.agents and shop.agents both declare it.",
        ),
    ],
)
def test_an_invalid_declaration_stops_the_start(
    install: InstallApp, agents: str, sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as failure:
        install(agents=agents)
    assert str(failure.value).startswith(sentence)
    assert failure.value.__suppress_context__ or not failure.value.__context__


def test_the_reloader_of_django_watches_the_file_of_an_invalid_declaration(
    install: InstallApp,
) -> None:
    tools = """
        from streaming import tool
        @tool
        def fetch(number):
            \"\"\"Fetch it.\"\"\"
    """
    with pytest.raises(ImproperlyConfigured) as failure:
        install(agents="from shop import catalogue", catalogue=tools)
    assert vars(failure.value)["filename"].endswith("shop/catalogue.py")


def test_the_provider_of_an_agent_may_have_settings_of_its_own(
    install: InstallApp, agent_settings: ChangeSettings
) -> None:
    agent_settings(shop_api_key="sk-shop", shop_region="us")
    text = "from streaming import Agent\na = Agent('a', {}=['tests.shop.ShopProvider'])"
    install("market", agents=text.format("fallbacks"))
    model = text.format("model").replace("[", "").replace("]", "")
    install(agents=model.replace("'a'", "'b'"))
    options = conf.provider(registry.get().declared["b"].model)
    assert isinstance(options, ShopOptions)
    assert options.shop_region == "us"


def test_an_unknown_key_of_the_settings_stops_the_start(
    install: InstallApp, agent_settings: ChangeSettings
) -> None:
    agent_settings(shop_region="us")
    with pytest.raises(ImproperlyConfigured, match="unknown key 'SHOP_REGION'"):
        install(agents=SUPPORT)


def test_two_apps_with_one_name_are_both_named(install: InstallApp) -> None:
    install(agents=SUPPORT)
    with pytest.raises(ImproperlyConfigured) as failure:
        install("market", agents=SUPPORT)
    sentence = "Agent 'support': shop.agents and market.agents both declare it."
    assert str(failure.value) == sentence


def test_a_default_agent_that_does_not_exist_stops_the_start(
    install: InstallApp, agent_settings: ChangeSettings
) -> None:
    agent_settings(default_agent="sales")
    with pytest.raises(ImproperlyConfigured) as failure:
        install(agents=SUPPORT)
    sentence = "DEFAULT_AGENT='sales': expected one of 'support', 'Agent'."
    assert str(failure.value) == sentence


def test_a_declared_agent_cannot_have_the_name_of_the_default(
    install: InstallApp,
) -> None:
    two = "from streaming import Agent\na = Agent('Agent')\nb = Agent('b')"
    with pytest.raises(ImproperlyConfigured, match="^Agent 'Agent': the default agent"):
        install(agents=two)


def test_a_mistake_in_a_module_of_agents_is_raised_unchanged(
    install: InstallApp,
) -> None:
    with pytest.raises(ZeroDivisionError):
        install(agents="1 / 0")


def test_the_public_names_need_neither_settings_nor_apps() -> None:
    script = "from streaming import Agent, Context, ToolError, tool; Agent('a')"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_registry_offers_the_default_first() -> None:
    first, second = Agent("a"), Agent("b")
    assert [*Registry([first, second]).offered] == ["Agent", "a", "b"]
    assert [*Registry([first]).offered] == ["a"]


def test_an_unknown_name_of_the_package_is_an_error() -> None:
    import streaming

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = streaming.nothing
