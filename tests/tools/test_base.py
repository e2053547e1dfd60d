"""A function made into a tool, and its calls."""

import asyncio
import dataclasses
import threading
from contextvars import ContextVar

import pytest

from streaming.messages import ToolSpec
from streaming.tools import Context, ToolError, tool

CONTEXT = Context()
language: ContextVar[str] = ContextVar("language", default="English")


@dataclasses.dataclass
class Point:
    x: int
    y: float


@tool
def where() -> str:
    """Tell the thread."""
    return threading.current_thread().name


@tool
async def where_async() -> str:
    """Tell the thread."""
    return threading.current_thread().name


def test_a_tool_is_described_by_name_description_and_parameters() -> None:
    empty = {"type": "object", "properties": {}, "additionalProperties": False}
    assert where.spec == ToolSpec("where", "Tell the thread.", empty)


def test_a_tool_is_called_in_python_as_the_function_is() -> None:
    assert where() == threading.current_thread().name


async def test_a_sync_function_runs_in_a_thread_of_its_own() -> None:
    here = threading.current_thread().name
    assert await where.call("", CONTEXT) not in (here, await where.call("", CONTEXT))


async def test_an_async_function_runs_on_the_event_loop() -> None:
    assert await where_async.call("", CONTEXT) == threading.current_thread().name


async def test_a_sync_function_sees_the_callers_context_variables() -> None:
    @tool
    def greet() -> str:
        """Greet."""
        return language.get()

    language.set("Latin")
    assert await greet.call("", CONTEXT) == "Latin"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("plain", "plain"),
        (7, "7"),
        (None, "null"),
        ([Point(1, 0.5)], '[{"x":1,"y":0.5}]'),
    ],
)
async def test_a_result_is_unchanged_text_or_json(result: object, text: str) -> None:
    @tool
    def give() -> object:
        """Give it."""
        return result

    assert await give.call("", CONTEXT) == text


def test_name_and_timeout_can_be_given() -> None:
    @tool(name="stroll", timeout=2.5)
    def walk() -> None:
        """Walk."""

    assert (walk.name, walk.timeout) == ("stroll", 2.5)


@pytest.mark.parametrize("name", ["two words", "naïve", "x" * 65])
def test_a_name_that_providers_refuse_is_refused_at_once(name: str) -> None:
    with pytest.raises(TypeError, match="no tool's name"):

        @tool(name=name)
        def walk() -> None:
            """Walk."""


def test_a_tool_without_docstring_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="needs a docstring"):

        @tool
        def walk() -> None: ...


async def test_calls_that_hang_block_their_own_tool_only_and_not_for_ever() -> None:
    may_end = threading.Event()

    @tool
    def hang() -> str:
        """Hang."""
        may_end.wait(10)
        return "ended"

    hanging = [asyncio.create_task(hang.call("", CONTEXT)) for _ in range(64)]
    await asyncio.sleep(0.05)
    with pytest.raises(ToolError, match="busy"):
        await hang.call("", CONTEXT)
    assert await where.call("", CONTEXT)
    may_end.set()
    assert await asyncio.gather(*hanging) == ["ended"] * 64
    assert await hang.call("", CONTEXT) == "ended"


async def test_a_thread_that_cannot_start_is_not_counted() -> None:
    usual = threading.stack_size(1 << 60)
    try:
        for _ in range(70):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await where.call("", CONTEXT)
    finally:
        threading.stack_size(usual)
    assert await where.call("", CONTEXT)
