"""Declarations of agents: their options, tools and instructions, and their errors."""

import math
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from streaming import Agent, Context, tool
from streaming.tools import Tool

ANY: dict[str, Any] = {}


@tool(title="Fetch", permission="shop.fetch")
def fetch(number: int) -> str:
    """Fetch an order."""
    return str(number)


def test_an_agent_has_the_options_of_its_declaration() -> None:
    agent = Agent(
        "support",
        instructions="Be kind.",
        model="openai:gpt-6-luna",
        tools=[fetch],
        permission="shop.use_support",
        limits={"runs_per_minute": 20, "cost_per_day": 2.0},
        fallbacks=["demo"],
        output_type=int,
        title="Support",
        description="Helps.",
        opening_questions=["Where is my order?"],
        max_iterations=7,
        queue="slow_1",
        priority=-5,
    )
    assert repr(agent) == "<Agent 'support'>"
    assert agent.tools == (fetch,)
    assert (agent.model, agent.fallbacks) == ("openai:gpt-6-luna", ("demo",))
    assert dict(agent.limits) == {"runs_per_minute": 20, "cost_per_day": 2.0}
    assert agent.output and agent.output.kind is int
    assert agent.opening_questions == ("Where is my order?",)
    assert (agent.permission, agent.max_iterations) == ("shop.use_support", 7)
    assert (agent.queue, agent.priority) == ("slow_1", -5)
    assert (Agent("a").queue, Agent("a").priority) == ("default", 0)


def test_an_agent_is_for_authenticated_callers_unless_it_says_otherwise() -> None:
    assert Agent("support").permission == "authenticated"


def test_tools_are_declared_with_and_without_options() -> None:
    agent = Agent("support", tools=[fetch])

    @agent.tool
    def first() -> str:
        """Do it first."""
        return "1"

    @agent.tool(name="zweite", title="Second", permission="shop.do", timeout=2.5)
    def second() -> str:
        """Do it then."""
        return "2"

    assert agent.tools == (fetch, first, second)
    assert isinstance(second, Tool)
    assert (second.name, second.title) == ("zweite", "Second")
    assert (second.permission, second.timeout) == ("shop.do", 2.5)
    assert second() == "2"


async def test_instructions_may_be_functions_of_the_context_or_of_nothing() -> None:
    agent = Agent("support", instructions="Be kind.")

    @agent.instructions
    def customer(context: Context) -> str:
        return f"The run is {context.run}."

    @agent.instructions
    async def weather() -> str:
        return "It rains."

    context = Context(run="r1")
    texts = [await function(context) for function in agent.instruction_functions]
    assert texts == ["The run is r1.", "It rains."]
    assert customer(context) == "The run is r1."


async def test_deps_may_be_a_class_or_a_function() -> None:
    for deps, expected in ((dict, {}), (lambda context: context.run, "r1")):
        agent = Agent("support", deps=deps)
        assert agent.deps
        assert await agent.deps(Context(run="r1")) == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"approval": True}, "unknown option 'approval'"),
        ({"on_busy": "wait"}, "on_busy='wait': expected one of reject, queue, int"),
        ({"on_busy": None}, "on_busy=None: expected one of reject, queue, interrupt"),
        (
            {"instruction": "x"},
            "unknown option 'instruction': did you mean 'instructions'?",
        ),
        ({"instructions": 5}, "instructions=5: expected text"),
        ({"model": None}, "model=None: expected text"),
        ({"title": b"x"}, "title=b'x': expected text"),
        ({"description": 1}, "description=1: expected text"),
        ({"tools": [len]}, "tools=(<built-in function len>,): expected a list of"),
        ({"tools": fetch}, "tools=Tool("),
        ({"permission": "shop"}, "permission='shop': expected 'anyone',"),
        ({"permission": ""}, "permission='': expected"),
        ({"permission": None}, "permission=None: expected"),
        ({"permission": "a.b.c"}, "permission='a.b.c': expected"),
        ({"limits": {"runs": 1}}, "limits: 'runs' is none of runs_per_minute,"),
        ({"limits": {"cost_per_day": 0}}, "limits: cost_per_day=0: expected a pos"),
        ({"limits": {"cost_per_day": -1}}, "limits: cost_per_day=-1: expected a pos"),
        ({"limits": {"cost_per_day": "1"}}, "limits: cost_per_day='1': expected a"),
        ({"limits": {"cost_per_day": True}}, "limits: cost_per_day=True: expected a"),
        ({"limits": {"cost_per_day": math.inf}}, "limits: cost_per_day=inf: expected"),
        ({"limits": {"cost_per_day": math.nan}}, "limits: cost_per_day=nan: expected"),
        ({"limits": [1]}, "limits=[1]: expected a dictionary"),
        ({"fallbacks": "demo"}, "fallbacks='demo': expected a list of texts"),
        ({"fallbacks": [1]}, "fallbacks=(1,): expected a list of texts"),
        ({"fallbacks": 1}, "fallbacks=1: expected a list of texts"),
        ({"opening_questions": "Hi"}, "opening_questions='Hi': expected a list of"),
        ({"opening_questions": [""]}, "opening_questions=('',): expected a list"),
        ({"deps": 5}, "deps=5: expected a function"),
        ({"deps": lambda a, b: a}, "expected a function of the run's context, or of"),
        ({"max_iterations": 0}, "max_iterations=0: expected 1 to 50"),
        ({"max_iterations": 51}, "max_iterations=51: expected 1 to 50"),
        ({"max_iterations": True}, "max_iterations=True: expected 1 to 50"),
        ({"max_iterations": "5"}, "max_iterations='5': expected 1 to 50"),
        ({"queue": ""}, "queue='': expected letters, digits, _ and -, at most 30"),
        ({"queue": "a b"}, "queue='a b': expected letters, digits, _ and -, at"),
        ({"queue": "q" * 31}, "expected letters, digits, _ and -, at most 30"),
        ({"queue": None}, "queue=None: expected letters, digits, _ and -"),
        ({"priority": 1.5}, "priority=1.5: expected -32768 to 32767"),
        ({"priority": True}, "priority=True: expected -32768 to 32767"),
        ({"priority": 32_768}, "priority=32768: expected -32768 to 32767"),
    ],
)
def test_an_invalid_option_is_an_error_of_one_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as failure:
        Agent("support", **options)
    text = str(failure.value)
    assert text.startswith("Agent 'support': ")
    assert sentence in text
    assert failure.value.__suppress_context__ or not failure.value.__context__


def no_docstring() -> None: ...


def untyped(number) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Have no type."""
    return str(number)


def plain() -> None:
    """Be plain."""


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (no_docstring, ANY, "no_docstring needs a docstring to describe it to the"),
        (untyped, ANY, "untyped: parameter 'number' has no type annotation."),
        (plain, {"name": "two words"}, "'two words' is no tool's name: use letters"),
        (plain, {"permission": "shop"}, "plain: permission='shop': expected 'anyone'"),
        (plain, {"approval": True}, "plain: unknown option 'approval'."),
        (plain, {"timeout": "5"}, "plain: timeout='5': expected a positive number"),
        (plain, {"timeout": -1}, "plain: timeout=-1: expected a positive number"),
        (plain, {"title": 5}, "plain: title=5: expected text"),
    ],
)
def test_an_invalid_tool_is_an_error_of_one_sentence(
    function: Any,  # noqa: ANN401
    options: dict[str, Any],
    sentence: str,
) -> None:
    agent = Agent("support")
    with pytest.raises(ImproperlyConfigured) as failure:
        agent.tool(**options)(function)
    assert str(failure.value).startswith(f"Agent 'support': {sentence}")
    with pytest.raises(TypeError) as free:
        tool(**options)(function)
    assert str(free.value).startswith(sentence)


def test_a_function_of_two_arguments_gives_no_instructions() -> None:
    agent = Agent("support")
    with pytest.raises(
        ImproperlyConfigured,
        match="Agent 'support': instructions=<function.*pair.*expected a",
    ):

        @agent.instructions
        def pair(context: Context, other: int) -> str:
            return ""


def test_a_sealed_agent_takes_no_more_tools_and_instructions() -> None:
    agent = Agent("support")
    agent.seal()
    with pytest.raises(ImproperlyConfigured, match="it was declared at start"):
        agent.tool(plain)
    with pytest.raises(ImproperlyConfigured, match="it was declared at start"):
        agent.instructions(lambda: "")
