"""The tools of an agent, and the calls that the model makes of them."""

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Any

from streaming.aio.containment import contain_tasks
from streaming.messages import ToolCallPart, ToolResultPart
from streaming.tool_calls import find_name
from streaming.tools.base import Tool, ToolContext, ToolError

logger = logging.getLogger(__name__)

#: Characters that PostgreSQL cannot store or UTF-8 cannot encode.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Toolbox:
    """A set of tools by their names, in the order given.

    `stop_seconds` is the time that an asynchronous tool has to end after it was
    cancelled; then it is abandoned: its call fails, and it continues in the background.
    """

    def __init__(
        self, tools: Iterable[Tool[..., Any]] = (), *, stop_seconds: float = 1.0
    ) -> None:
        self._stop_seconds = stop_seconds
        self._tools: dict[str, Tool[..., Any]] = {}
        self._left: set[asyncio.Task[Any]] = set()
        for tool in tools:
            self._add(tool)
        self.specs = tuple(tool.spec for tool in self._tools.values())

    def _add(self, tool: Tool[..., Any]) -> None:
        other = self._tools.setdefault(tool.name, tool)
        if other is not tool:
            raise ValueError(
                f"Two tools are named {tool.name!r}: {other.origin} and "
                f"{tool.origin}. Name one with @tool(name=…)."
            )

    async def call(
        self,
        call: ToolCallPart,
        context: ToolContext,
        timeout: float,
        max_chars: int,
    ) -> ToolResultPart:
        """Run a model's call; every failure becomes an error result.

        `timeout` is in seconds, for tools that have none of their own. A result longer
        than `max_chars` is truncated and says so. Raises only `CancelledError`, if this
        call is cancelled.
        """
        tool = self._tools.get(find_name(call.name, self._tools) or "")
        if tool is None:
            known = ", ".join(self._tools) or "none"
            text, is_error = f"There is no such tool. The tools are: {known}.", True
        else:
            seconds = timeout if tool.timeout is None else tool.timeout
            text, is_error = await self._call(tool, call.arguments, context, seconds)
        text = UNSTORABLE.sub("\ufffd", _truncate(text, max_chars))
        return ToolResultPart(call.id, call.name, text, is_error)

    @property
    def abandoned(self) -> int:
        """The number of calls that still run after their callers stopped waiting."""
        threads = sum(tool.threads.abandoned for tool in self._tools.values())
        return len(self._left) + threads

    async def _call(
        self, tool: Tool[..., Any], arguments: str, context: ToolContext, timeout: float
    ) -> tuple[str, bool]:
        """Call a tool in a task of its own; return the text, and whether it failed.

        A tool may cancel its task or ignore a cancellation; this task is unaffected.
        """
        where = f"{tool.name} in run {context.run_id}"
        task = asyncio.create_task(_outcome(tool, arguments, context, where))
        try:
            done, _ = await asyncio.wait([task], timeout=timeout)
        except asyncio.CancelledError:
            await self._stop(task, where)
            raise
        if not done:
            logger.warning("tool timed out: %s", where)
            await self._stop(task, where)
            return f"The tool did not answer in {timeout:g} s.", True
        if task.cancelled():
            logger.error("tool failed: %s: its task was cancelled", where)
            return _failure(asyncio.CancelledError), True
        return task.result()

    async def _stop(self, task: "asyncio.Task[Any]", where: str) -> None:
        """Cancel the task of a call; abandon it if it ignores that."""
        task.cancel()
        try:
            await asyncio.wait([task], timeout=self._stop_seconds)
        finally:
            if not task.done():
                logger.warning("tool abandoned, cancellation ignored: %s", where)
                self._left.add(task)
                task.add_done_callback(self._left.discard)


async def _outcome(
    tool: Tool[..., Any], arguments: str, context: ToolContext, where: str
) -> tuple[str, bool]:
    """Call a tool; return the text for the model, and whether the tool failed."""
    contain_tasks()
    try:
        return await tool.call(arguments, context), False
    except ToolError as error:
        return str(error), True
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        # Not only an Exception: a task that raises SystemExit or KeyboardInterrupt ends
        # the event loop, and extensions have errors of their own, such as the
        # PanicException of Rust.
        logger.exception("tool failed: %s", where)
        return _failure(type(error)), True


def _failure(kind: type[BaseException]) -> str:
    return f"The tool failed: {kind.__name__}."


def _truncate(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    return (
        f"{text[:max_chars]}\n"
        f"[Cut: the first {max_chars:,} of {len(text):,} characters.]"
    )
