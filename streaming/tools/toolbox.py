"""The tools of an agent, and the calls that the model makes of them."""

import asyncio
import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

from streaming.aio.containment import contain_tasks
from streaming.messages import ToolCallPart, ToolResultPart
from streaming.principals import Principal
from streaming.tool_calls import find_name
from streaming.tools.base import Context, Tool, ToolError
from streaming.tools.permissions import Decide
from streaming.tools.tool_call import ToolCall

logger = logging.getLogger(__name__)

#: Characters that PostgreSQL cannot store or UTF-8 cannot encode.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Toolbox:
    """A set of tools by their names, in the order given.

    `stop_seconds` is the time that an asynchronous tool has to end after it was
    cancelled; then it is abandoned: its call fails, and it continues in the background.
    `decide` decides on the permissions of tools; without it, no caller has any.
    """

    def __init__(
        self,
        tools: Iterable[Tool[..., Any]] = (),
        *,
        stop_seconds: float = 1.0,
        decide: Decide | None = None,
    ) -> None:
        self._stop_seconds = stop_seconds
        self._decide = decide
        self._tools: dict[str, Tool[..., Any]] = {}
        self._left: set[asyncio.Task[Any]] = set()
        for tool in tools:
            self._add(tool)
        self.specs = tuple(tool.spec for tool in self._tools.values())
        #: The tools that need a permission.
        self.restricted = [tool for tool in self._tools.values() if tool.permission]

    def _add(self, tool: Tool[..., Any]) -> None:
        other = self._tools.setdefault(tool.name, tool)
        if other is not tool:
            raise ValueError(
                f"Two tools are named {tool.name!r}: {other.origin} and "
                f"{tool.origin}. Name one with @tool(name=…)."
            )

    async def permitted(self, principal: Principal) -> "Toolbox":
        """Return the toolbox with the tools for which a caller has the permissions."""
        if not self.restricted:
            return self
        decisions = await self._decisions(self.restricted, principal)
        hidden = {
            tool.name
            for tool, is_permitted in zip(self.restricted, decisions, strict=True)
            if not is_permitted
        }
        toolbox = Toolbox(
            (tool for name, tool in self._tools.items() if name not in hidden),
            stop_seconds=self._stop_seconds,
            decide=self._decide,
        )
        toolbox._left = self._left  # the abandoned calls of all runs together
        return toolbox

    def is_repeatable(self, name: str) -> bool:
        """Return whether a call of a tool may be repeated if its process died."""
        tool = self._tools.get(find_name(name, self._tools) or "")
        return tool is not None and tool.repeatable

    async def call(
        self,
        call: ToolCallPart,
        context: Context,
        timeout: float,
        max_chars: int,
    ) -> ToolResultPart:
        """Run a model's call; every failure becomes an error result.

        `timeout` is in seconds, for tools that have none of their own. A result longer
        than `max_chars` is truncated and says so. Raises only `CancelledError`, if this
        call is cancelled.
        """
        name = find_name(call.name, self._tools)
        observed, result = ToolCall(call, name), None
        try:
            result = await self._result(call, name, context, timeout, max_chars)
            return result
        finally:
            observed.end(result)

    async def _result(
        self,
        call: ToolCallPart,
        name: str | None,
        context: Context,
        timeout: float,
        max_chars: int,
    ) -> ToolResultPart:
        tool = self._tools.get(name or "")
        if tool is None:
            known = ", ".join(self._tools) or "none"
            text, is_error = f"There is no such tool. The tools are: {known}.", True
        else:
            seconds = timeout if tool.timeout is None else tool.timeout
            text, is_error = await self._call(tool, call.arguments, context, seconds)
        text = UNSTORABLE.sub("\ufffd", _truncate(text, max_chars))
        return ToolResultPart(call.id, call.name, text, is_error)

    @property
    def tools(self) -> tuple[Tool[..., Any], ...]:
        """The tools in their order."""
        return tuple(self._tools.values())

    @property
    def abandoned(self) -> int:
        """The number of calls that still run after their callers stopped waiting."""
        return count_abandoned([self])

    async def _call(
        self, tool: Tool[..., Any], arguments: str, context: Context, timeout: float
    ) -> tuple[str, bool]:
        """Call a tool in a task of its own; return the text, and whether it failed.

        A tool may cancel its task or ignore a cancellation; this task is unaffected.
        """
        where = f"{tool.name} in run {context.run}"
        task = asyncio.create_task(self._outcome(tool, arguments, context, where))
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
        self, tool: Tool[..., Any], arguments: str, context: Context, where: str
    ) -> tuple[str, bool]:
        """Call a tool; return the text for the model, and whether the tool failed."""
        contain_tasks()
        try:
            if tool.permission:
                [is_permitted] = await self._decisions([tool], context.principal)
                if not is_permitted:
                    return "The user has no permission to use this tool.", True
            return await tool.call(arguments, context), False
        except ToolError as error:
            return str(error), True
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Not only an Exception: a task that raises SystemExit or KeyboardInterrupt
            # ends the event loop, and extensions have errors of their own, such as the
            # PanicException of Rust.
            logger.exception("tool failed: %s", where)
            return _failure(type(error)), True

    async def _decisions(
        self, tools: Sequence[Tool[..., Any]], principal: Principal
    ) -> Sequence[bool]:
        if self._decide is None:
            return [False] * len(tools)
        permissions = [tool.permission for tool in tools if tool.permission]
        return await self._decide(permissions, principal)


def count_abandoned(toolboxes: Iterable[Toolbox]) -> int:
    """Return the number of abandoned calls of toolboxes, which may share tools."""
    toolboxes = list(toolboxes)
    tools = (tool for each in toolboxes for tool in each._tools.values())
    threads = {id(tool.threads): tool.threads for tool in tools}
    return sum(len(each._left) for each in toolboxes) + sum(
        each.abandoned for each in threads.values()
    )


def _failure(kind: type[BaseException]) -> str:
    return f"The tool failed: {kind.__name__}."


def _truncate(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    return (
        f"{text[:max_chars]}\n"
        f"[Cut: the first {max_chars:,} of {len(text):,} characters.]"
    )
