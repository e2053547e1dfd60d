"""The agent loop: call the model, run the tools that it calls, call the model again.

`AgentLoop.run` yields events in batches. A `Progress` holds the messages and the usage
up to any moment, so a run that is interrupted has them too.
"""

import logging
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from msgspec import structs

from streaming.agent.model_call import ModelCall
from streaming.agent.output import OutputCheck, OutputType, check_names
from streaming.agent.progress import Progress
from streaming.agent.response import DEFAULT_LIMITS, ResponseBuilder
from streaming.agent.summary import Summarizer
from streaming.agent.tool_calls import Checkpoint, ToolCalls
from streaming.events import Event, StopReason
from streaming.messages import (
    Message,
    ToolCallPart,
    join_exchanges,
    split_exchanges,
)
from streaming.providers.base import ModelRequest, Provider
from streaming.providers.fallback import for_run
from streaming.providers.limits import ResponseLimits
from streaming.tools.base import Context
from streaming.tools.toolbox import Toolbox

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AgentLoop:
    """A model with its instructions and its tools, for any number of runs."""

    provider: Provider
    toolbox: Toolbox
    system_prompt: str = ""
    tool_timeout: float = 30.0
    max_tool_result_chars: int = 100_000
    limits: ResponseLimits = DEFAULT_LIMITS
    #: The length of all that one run adds to its conversation.
    max_run_chars: int = 16_000_000
    #: The highest number of tokens of one response.
    max_output_tokens: int = 8192
    #: Replace exchanges that exceed the context window by a summary of them.
    summarize_history: bool = False
    #: The type of the answer; None: text.
    output: OutputType[Any] | None = None

    def __post_init__(self) -> None:
        """Refuse a tool with the name that the model calls to give its output."""
        check_names(self.toolbox.specs, self.output)

    async def run(
        self,
        history: Sequence[Message],
        context: Context,
        *,
        max_iterations: int,
        progress: Progress,
        checkpoint: Checkpoint,
    ) -> AsyncGenerator[list[Event]]:
        """Answer the last message of `history`; yield the events as they happen.

        Continues from the messages in `progress` if earlier attempts have left any.
        Awaits `checkpoint` after each new message but the last: before a tool starts,
        before the model receives a result. An answer that does not fit `output` is
        requested once more. Raises `ProviderError`, `InvalidOutput`, `BudgetReached`.
        """
        call_ids = {call.id for m in progress.messages for call in m.tool_calls}
        provider = for_run(self.provider)
        model: Provider | Summarizer = provider
        if self.summarize_history:
            model = Summarizer(provider, progress, self.max_run_chars)
            history = model.take_summary(history, progress.messages)
        tools = self._tool_calls(context, progress, checkpoint)
        async with aclosing(tools.resume()) as results:
            async for events in results:
                yield events
        output = OutputCheck(self.output, progress)
        for iteration in count(progress.iterations + 1):
            if self._has_no_room(progress, output):
                return
            is_last = iteration >= max_iterations or bool(output.correction)
            response = self._response(progress, call_ids, output)
            messages = [*history, *progress.messages, *output.correction]
            request = self._request(messages, output, allow_tools=not is_last)
            progress.count_lost(request)
            await progress.reserve(request)
            with self._model_call(request, response, progress):
                async with aclosing(model.stream(request)) as batches:
                    async for batch in batches:
                        if events := response.add(batch):
                            yield events
                        if response.is_full:
                            break
                response.check(request)
            if dropped := response.dropped_exchanges:
                progress.dropped_exchanges += dropped
                history = join_exchanges(split_exchanges(history)[dropped:])
            if is_last or not response.needs_another_call:
                progress.stop_reason = _stop_reason(response, is_last)
                if await output.accepts(response, self.tool_timeout):
                    return
                continue
            async with aclosing(tools.run(response.message.tool_calls)) as results:
                async for events in results:
                    yield events

    def _tool_calls(
        self, context: Context, progress: Progress, checkpoint: Checkpoint
    ) -> ToolCalls:
        return ToolCalls(
            self.toolbox,
            context,
            progress,
            checkpoint,
            timeout=self.tool_timeout,
            max_result_chars=self.max_tool_result_chars,
            max_run_chars=self.max_run_chars,
        )

    def _response(
        self, progress: Progress, call_ids: set[str], output: OutputCheck
    ) -> ResponseBuilder:
        """Return an empty response, which may add to the run what it has left."""
        left = self.max_run_chars - progress.added_chars
        return ResponseBuilder(
            getattr(self.provider, "origin", ""),
            [spec.name for spec in self.toolbox.specs],
            call_ids,
            limits=structs.replace(self.limits, chars=min(self.limits.chars, left)),
            output=output.name,
        )

    def _has_no_room(self, progress: Progress, output: OutputCheck) -> bool:
        """Return True, and set the stop reason, if the run may add nothing more."""
        if progress.added_chars < self.max_run_chars or output.correction:
            return False
        logger.warning("run stopped: %d characters", progress.added_chars)
        progress.stop_reason = "max_tokens"
        return True

    def _request(
        self, messages: Sequence[Message], output: OutputCheck, *, allow_tools: bool
    ) -> ModelRequest:
        return ModelRequest(
            system=self.system_prompt,
            messages=messages,
            tools=self.toolbox.specs,
            allow_tools=allow_tools,
            output=output.spec,
        )

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
        call = ModelCall(self.provider, request)
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
                progress.add_response(message)
            usage = progress.count(request, response)
            call.end(response, usage, sys.exception())
            logger.debug(
                "model call ended: %s in %.0f ms, %s",
                response.stop_reason or "interrupted",
                (time.monotonic() - started) * 1000,
                usage,
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
