"""The observation of a tool call: its span, by the conventions for generative AI, and
its duration."""

import time

from streaming.messages import ToolCallPart, ToolResultPart
from streaming.telemetry import metrics
from streaming.telemetry.tracing import Value, tracer

#: The label of calls of no declared tool, whose names the model chooses.
UNKNOWN = "unknown"


class ToolCall:
    """A call of a tool, from construction to `end`, both in one task.

    Between them its span is the parent of the tool's own spans.
    """

    def __init__(self, call: ToolCallPart, name: str | None) -> None:
        self._name = name or UNKNOWN
        self._started = time.monotonic()
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": self._name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.id,
        }
        if tracer().has_content:
            attributes["gen_ai.tool.call.arguments"] = call.arguments
        self._span = tracer().begin(
            f"execute_tool {self._name}", attributes, is_client=False
        )
        self._restore = tracer().make_current(self._span)

    def end(self, result: ToolResultPart | None) -> None:
        """Record the end; None: the call was cancelled."""
        self._restore()
        outcome = "error" if result is None or result.is_error else "completed"
        lasted = time.monotonic() - self._started
        metrics.TOOL_SECONDS.observe(lasted, self._name, outcome)
        if result is None:
            self._span.fail("cancelled")
        elif result.is_error:
            self._span.fail("tool_error")
        if result is not None and tracer().has_content:
            self._span.set({"gen_ai.tool.call.result": result.result})
        self._span.end()
