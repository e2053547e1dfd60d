"""Every call of the model gets a result."""

import asyncio
import inspect
import logging
import sys
import threading
import time
from contextlib import suppress
from functools import partial

import pytest

from streaming.messages import ToolCallPart, ToolResultPart
from streaming.tools import Context, Toolbox, ToolError, tool
from streaming.tools.base import RunningCall, find_call
from tests.client import SECONDS


@tool
def echo(text: str) -> str:
    """Say it again."""
    return text


@tool
async def divide(number: int) -> float:
    """Divide one by it."""
    return 1 / number


@tool
def refuse() -> str:
    """Refuse."""
    raise ToolError("The shop is closed on Sundays.")


@tool
def leave() -> str:
    """End the process, as a careless function would."""
    sys.exit(3)


@tool
def exhaust() -> str:
    """Raise an exception that a coroutine must not raise."""
    return next(iter(()))


@tool
async def time_out_itself() -> str:
    """Wait for something of its own for too long."""
    async with asyncio.timeout(0.01):
        await asyncio.sleep(10)
    return ""


@tool
async def cancel_itself() -> str:
    """Wait for a task that was cancelled."""
    task = asyncio.create_task(asyncio.sleep(10))
    task.cancel()
    await task
    return ""


@tool
async def cancel_its_task() -> str:
    """Cancel the task in which it runs."""
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(10)
    return ""


@tool
async def interrupt() -> str:
    """Raise an exception that ends an event loop."""
    raise KeyboardInterrupt


class Panic(BaseException):
    """An exception that is no `Exception`, as extensions have."""


@tool
def panic() -> str:
    """Raise it in a thread."""
    raise Panic


@tool
def secret() -> object:
    """Return a value without a JSON form."""
    return object()


@tool(timeout=0.05)
async def dawdle() -> str:
    """Take too long."""
    await asyncio.sleep(10)
    return ""


@tool(timeout=0.05)
def dawdle_in_a_thread() -> str:
    """Take too long, without a way to interrupt it."""
    time.sleep(0.3)
    return ""


TOOLBOX = Toolbox(
    [
        echo,
        divide,
        refuse,
        leave,
        exhaust,
        time_out_itself,
        cancel_itself,
        cancel_its_task,
        interrupt,
        panic,
        secret,
        dawdle,
        dawdle_in_a_thread,
    ]
)


async def call(
    name: str, arguments: str = "", *, timeout: float = 5, max_chars: int = 1000
) -> ToolResultPart:
    part = ToolCallPart("call_1", name, arguments)
    return await TOOLBOX.call(part, Context(run="r1"), timeout, max_chars)


def test_the_specs_are_in_the_order_given() -> None:
    assert [spec.name for spec in TOOLBOX.specs][:2] == ["echo", "divide"]


def test_two_tools_with_one_name_are_refused_and_both_are_named() -> None:
    @tool(name="echo")
    def other(text: str) -> str:
        """Say something else."""
        return text

    with pytest.raises(ValueError, match=r"test_toolbox\.echo and .*<locals>\.other"):
        Toolbox([echo, other])


async def test_a_result_has_the_id_and_name_of_its_call() -> None:
    assert await call("divide", '{"number": 2}') == ToolResultPart(
        "call_1", "divide", "0.5"
    )


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("nonsense", "", "There is no such tool. The tools are: echo, divide,"),
        ("echo", '{"text": 1}', "The arguments do not fit: text: "),
        ("echo", "{", "The arguments do not fit: arguments: Invalid JSON"),
        ("refuse", "", "The shop is closed on Sundays."),
        ("divide", '{"number": 0}', "The tool failed: ZeroDivisionError."),
        ("leave", "", "The tool failed: SystemExit."),
        ("exhaust", "", "The tool failed: RuntimeError."),
        ("time_out_itself", "", "The tool failed: TimeoutError."),
        ("cancel_itself", "", "The tool failed: CancelledError."),
        ("cancel_its_task", "", "The tool failed: CancelledError."),
        ("interrupt", "", "The tool failed: KeyboardInterrupt."),
        ("panic", "", "The tool failed: Panic."),
        ("secret", "", "The tool failed: PydanticSerializationError."),
        ("dawdle", "", "The tool did not answer in 0.05 s."),
        ("dawdle_in_a_thread", "", "The tool did not answer in 0.05 s."),
    ],
)
async def test_every_failure_is_an_error_result(
    name: str, arguments: str, expected: str
) -> None:
    result = await call(name, arguments)
    assert result.is_error
    assert result.result.startswith(expected)


async def test_a_failure_is_logged_with_its_traceback_and_reported_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "streaming.tools"):
        result = await call("divide", '{"number": 0}')
    assert "division by zero" not in result.result
    assert "tool failed: divide in run r1" in caplog.text
    assert "ZeroDivisionError: division by zero" in caplog.text


async def test_a_tool_without_timeout_has_the_callers() -> None:
    @tool
    async def sleep() -> str:
        """Sleep."""
        await asyncio.sleep(10)
        return ""

    part = ToolCallPart("1", "sleep", "")
    result = await Toolbox([sleep]).call(part, Context(), 0.01, 100)
    assert result.result == "The tool did not answer in 0.01 s."


async def test_a_call_that_is_cancelled_is_cancelled_and_its_tool_with_it() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        begun.set()
        try:
            await asyncio.sleep(10)
        finally:
            ended.set()
        return ""

    part = ToolCallPart("1", "wait", "")
    task = asyncio.create_task(Toolbox([wait]).call(part, Context(), 5, 100))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_call_of_a_thread_that_is_cancelled_does_not_wait_for_it() -> None:
    begun, may_end = threading.Event(), threading.Event()

    @tool
    def hang() -> bool:
        """Hang."""
        begun.set()
        return may_end.wait(60)

    part = ToolCallPart("1", "hang", "")
    task = asyncio.create_task(Toolbox([hang]).call(part, Context(), 60, 100))
    await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    may_end.set()


async def test_a_result_that_is_too_long_is_truncated_and_says_so() -> None:
    result = await call("echo", f'{{"text": "{"x" * 5000}"}}', max_chars=1000)
    assert result.result == "x" * 1000 + "\n[Cut: the first 1,000 of 5,000 characters.]"
    assert not result.is_error


async def test_characters_that_cannot_be_stored_are_replaced() -> None:
    @tool
    def garble() -> str:
        """Return characters that a database rejects."""
        return "a\0b\ud800c"

    part = ToolCallPart("1", "garble", "")
    result = await Toolbox([garble]).call(part, Context(), 5, 100)
    assert result.result == "a\ufffdb\ufffdc"


async def test_a_tool_that_swallows_cancellation_is_abandoned_and_counted() -> None:
    may_end = asyncio.Event()

    @tool(timeout=0.05)
    async def swallow() -> str:
        """Ignore each cancellation."""
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()
        raise KeyboardInterrupt

    toolbox = Toolbox([swallow], stop_seconds=0.05)
    part = ToolCallPart("1", "swallow", "")
    result = await toolbox.call(part, Context(), 5, 100)
    assert result.result == "The tool did not answer in 0.05 s."
    assert toolbox.abandoned == 1
    may_end.set()
    async with asyncio.timeout(5):
        while toolbox.abandoned:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_threads_that_still_run_are_counted() -> None:
    may_end = threading.Event()

    @tool(timeout=0.05)
    def hang() -> bool:
        """Hang."""
        return may_end.wait(10)

    toolbox = Toolbox([hang])
    part = ToolCallPart("1", "hang", "")
    for _ in range(3):
        assert (await toolbox.call(part, Context(), 5, 100)).is_error
    assert toolbox.abandoned == 3
    may_end.set()
    async with asyncio.timeout(5):
        while toolbox.abandoned:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_call_that_is_abandoned_during_a_count_is_counted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_end, counting, added = (threading.Event() for _ in range(3))

    @tool(timeout=0.05)
    def hang() -> bool:
        """Hang."""
        return may_end.wait(SECONDS)

    toolbox = Toolbox([hang])
    call = partial(toolbox.call, ToolCallPart("1", "hang", ""), Context(), 5, 100)
    is_alive = threading.Thread.is_alive
    counter: list[threading.Thread] = []

    def look(thread: threading.Thread) -> bool:
        if threading.current_thread() in counter:
            counting.set()
            added.wait(SECONDS)
        return is_alive(thread)

    def count() -> int:
        counter.append(threading.current_thread())
        return toolbox.abandoned

    monkeypatch.setattr(threading.Thread, "is_alive", look)
    await call()
    counted = asyncio.create_task(asyncio.to_thread(count))
    await asyncio.to_thread(counting.wait, SECONDS)
    await call()
    added.set()
    assert await counted == 2
    assert toolbox.abandoned == 2
    may_end.set()


async def test_the_call_in_which_a_thread_is_can_be_found() -> None:
    found: list[RunningCall | None] = []

    @tool
    async def look() -> str:
        """Look at its own stack."""
        found.append(find_call(inspect.currentframe()))
        return ""

    part = ToolCallPart("1", "look", "")
    await Toolbox([look]).call(part, Context(run="r1"), 5, 100)
    assert found == [RunningCall("look", "r1")]
    assert find_call(inspect.currentframe()) is None
