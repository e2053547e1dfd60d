"""The agent loop: call the model, run the tools that it calls, call the model again.

`Agent.run` yields events in batches. A `Progress` holds the messages and the usage up
to any moment, so a run that is interrupted has them too.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

import msgspec
from msgspec import structs

from streaming.agent.response import DEFAULT_LIMITS, ResponseBuilder
from streaming.events import (
    Event,
    ExecutionSummary,
    StopReason,
    ToolCallEvent,
    ToolCallInfo,
    ToolResultEvent,
    Usage,
)
from streaming.messages import (
    Message,
    Part,
    ToolCallPart,
    ToolResultPart,
)
from streaming.providers.base import (
    ModelRequest,
    Provider,
    TokenUsage,
)
from streaming.providers.limits import MAX_COUNT, ResponseLimits
from streaming.tools.base import ToolContext
from streaming.tools.toolbox import Toolbox

logger = logging.getLogger(__name__)

#: The assumed length of a token, for calls whose tokens the provider did not count.
CHARS_PER_TOKEN = 4

Checkpoint = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Progress:
    """The state of a run: its messages, usage and counts up to the moment."""

    started: float = field(default_factory=time.monotonic)
    messages: list[Message] = field(default_factory=list)
    usage: TokenUsage = TokenUsage()
    llm_calls: int = 0
    tool_calls: int = 0
    used_tools: list[str] = field(default_factory=list)
    stop_reason: StopReason = "end_turn"
    #: The length of the responses and tool results, in characters.
    added_chars: int = 0

    @property
    def output(self) -> str:
        """The text of the newest response."""
        responses = [m for m in self.messages if m.role == "assistant"]
        return responses[-1].text if responses else ""

    def wire_usage(self) -> Usage:
        """Return the usage in the form that clients receive."""
        used = self.usage
        total = min(used.input_tokens + used.output_tokens, MAX_COUNT)
        return Usage(
            used.input_tokens, used.output_tokens, total, used.reasoning_tokens
        )

    def summary(self) -> ExecutionSummary:
        """Return the counts and the duration of the run."""
        return ExecutionSummary(
            llm_calls=self.llm_calls,
            tool_calls=self.tool_calls,
            execution_time_ms=round((time.monotonic() - self.started) * 1000),
            used_tools=self.used_tools,
            stop_reason=self.stop_reason,
        )


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A model with its instructions and its tools."""

    provider: Provider
    toolbox: Toolbox
    system_prompt: str = ""
    tool_timeout: float = 30.0
    max_tool_result_chars: int = 100_000
    limits: ResponseLimits = DEFAULT_LIMITS
    #: The length of all that one run adds to its conversation.
    max_run_chars: int = 16_000_000

    async def run(
        self,
        history: Sequence[Message],
        context: ToolContext,
        *,
        max_iterations: int,
        progress: Progress,
        checkpoint: Checkpoint,
    ) -> AsyncGenerator[list[Event]]:
        """Answer the last message of `history`; yield the events as they happen.

        Awaits `checkpoint` after each new message in `progress`: before a tool starts,
        and before the model receives a result. The last response has no checkpoint.
        Raises `ProviderError`.
        """
        for iteration in range(1, max_iterations + 1):
            is_last = iteration == max_iterations
            left = self.max_run_chars - progress.added_chars
            limits = structs.replace(self.limits, chars=min(self.limits.chars, left))
            response = ResponseBuilder(limits=limits)
            request = ModelRequest(
                system=self.system_prompt,
                messages=[*history, *progress.messages],
                tools=self.toolbox.specs,
                allow_tools=not is_last,
            )
            with self._model_call(request, response, progress):
                async with aclosing(self.provider.stream(request)) as batches:
                    async for batch in batches:
                        if events := response.add(batch):
                            yield events
                        if response.is_full:
                            break
                response.check(request)
            if is_last or not response.needs_another_call:
                progress.stop_reason = _stop_reason(response, is_last)
                return
            await checkpoint()
            if calls := response.message.tool_calls:
                async with aclosing(
                    self._call_tools(calls, context, progress)
                ) as results:
                    async for events in results:
                        yield events
                await checkpoint()
            if progress.added_chars >= self.max_run_chars:
                logger.warning("run stopped: %d characters", progress.added_chars)
                progress.stop_reason = "max_tokens"
                return

    @contextmanager
    def _model_call(
        self, request: ModelRequest, response: ResponseBuilder, progress: Progress
    ) -> Iterator[None]:
        """Record the message and the usage of one model call, however it ends."""
        progress.llm_calls += 1
        logger.debug(
            "model call started: %d messages, %d tools, provider %s, model %s",
            len(request.messages),
            len(request.tools) if request.allow_tools else 0,
            self.provider.name,
            self.provider.model,
        )
        started = time.monotonic()
        try:
            yield
        finally:
            message = response.message
            if not request.allow_tools or response.stop_reason != "tool_use":
                # These calls are never run, so they would have no result.
                message.parts = [
                    p for p in message.parts if not isinstance(p, ToolCallPart)
                ]
            if message.parts:
                progress.messages.append(message)
            progress.added_chars += response.size
            usage = _complete_usage(request, response)
            counts = structs.astuple(progress.usage), structs.astuple(usage)
            sums = (min(a + b, MAX_COUNT) for a, b in zip(*counts, strict=True))
            progress.usage = TokenUsage(*sums)
            logger.debug(
                "model call ended: %s in %.0f ms, %s",
                response.stop_reason or "interrupted",
                (time.monotonic() - started) * 1000,
                usage,
            )

    async def _call_tools(
        self, calls: Sequence[ToolCallPart], context: ToolContext, progress: Progress
    ) -> AsyncGenerator[list[Event]]:
        """Run the tools concurrently; yield the event of each result as it arrives."""
        progress.tool_calls += len(calls)
        for call in calls:
            if call.name not in progress.used_tools:
                progress.used_tools.append(call.name)
        yield [
            ToolCallEvent(
                tool_call=ToolCallInfo(call.id, call.name, call.arguments, "executing")
            )
            for call in calls
        ]
        left = max(self.max_run_chars - progress.added_chars, 0)
        max_chars = min(self.max_tool_result_chars, left // len(calls))
        running = {
            asyncio.create_task(self._call_tool(call, context, max_chars)): call
            for call in calls
        }
        try:
            pending = set(running)
            while pending:
                done, pending = await asyncio.wait(
                    pending, return_when=asyncio.FIRST_COMPLETED
                )
                yield [_result_event(running[task], task.result()) for task in done]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            results = [
                task.result()
                for task in running
                if not task.cancelled() and not task.exception()
            ]
            progress.added_chars += sum(len(result.result) for result in results)
            if results:
                progress.messages.append(Message("tool", [*results]))

    async def _call_tool(
        self, call: ToolCallPart, context: ToolContext, max_chars: int
    ) -> ToolResultPart:
        return await self.toolbox.call(
            call, context, timeout=self.tool_timeout, max_chars=max_chars
        )


def _stop_reason(response: ResponseBuilder, is_last: bool) -> StopReason:
    """Return the stop reason of a run that ends with this response."""
    match response.stop_reason:
        case "max_tokens" | "refusal" as reason:
            return reason
        case "tool_use" | "pause_turn" if is_last:
            return "max_iterations"
        case _:
            return "end_turn"


def _result_event(call: ToolCallPart, result: ToolResultPart) -> ToolResultEvent:
    info = ToolCallInfo(
        call.id,
        call.name,
        call.arguments,
        "error" if result.is_error else "completed",
        result.result,
    )
    return ToolResultEvent(tool_call=info)


def _complete_usage(request: ModelRequest, response: ResponseBuilder) -> TokenUsage:
    """Return the usage of a call, with estimates of what the provider did not count.

    The output of a response that was cut short is at least what has arrived of it.
    """
    counted = response.usage
    is_whole = bool(response.stop_reason) and not response.is_full
    sent, received = counted.input_tokens, counted.output_tokens
    if not sent:
        sent = _tokens(request.messages)
    if not is_whole or not received:
        received = max(received, _tokens(response.message.parts))
    return structs.replace(counted, input_tokens=sent, output_tokens=received)


def _tokens(content: Sequence[Message] | Sequence[Part]) -> int:
    return len(msgspec.json.encode(content)) // CHARS_PER_TOKEN
