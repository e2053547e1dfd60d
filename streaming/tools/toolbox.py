"""The tools of an agent, and the calls that the model makes of them."""

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Any

from streaming.messages import ToolCallPart, ToolResultPart
from streaming.tool_calls import find_name
from streaming.tools.base import Tool, ToolContext, ToolError

logger = logging.getLogger(__name__)

#: Characters that PostgreSQL cannot store or UTF-8 cannot encode.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Toolbox:
    """A set of tools by their names, in the order given."""

    def __init__(self, tools: Iterable[Tool[..., Any]] = ()) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
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
        is_error = False
        try:
            text = await self._call(call, context, timeout)
        except ToolError as error:
            text, is_error = str(error), True
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # this task is cancelled, not one inside the tool
            logger.exception("tool failed: %s in run %s", call.name, context.run_id)
            text, is_error = f"The tool failed: {type(error).__name__}.", True
        text = UNSTORABLE.sub("\ufffd", _truncate(text, max_chars))
        return ToolResultPart(call.id, call.name, text, is_error)

    async def _call(
        self, call: ToolCallPart, context: ToolContext, timeout: float
    ) -> str:
        tool = self._tools.get(find_name(call.name, self._tools) or "")
        if tool is None:
            known = ", ".join(self._tools) or "none"
            raise ToolError(f"There is no such tool. The tools are: {known}.")
        seconds = timeout if tool.timeout is None else tool.timeout
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await tool.call(call.arguments, context)
        except TimeoutError:
            if not deadline.expired():
                raise
            logger.warning("tool timed out: %s in run %s", call.name, context.run_id)
            raise ToolError(f"The tool did not answer in {seconds:g} s.") from None


def _truncate(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    return (
        f"{text[:max_chars]}\n"
        f"[Cut: the first {max_chars:,} of {len(text):,} characters.]"
    )
