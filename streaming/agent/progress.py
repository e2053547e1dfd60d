"""The state of a run: its messages, usage and counts up to any moment."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import structs

from streaming.agent.response import ResponseBuilder
from streaming.events import ExecutionSummary, StopReason, Usage
from streaming.exceptions import ProviderError, ProviderIncomplete, ProviderTimeout
from streaming.messages import Message, TextPart, ToolCallPart, ToolResultPart
from streaming.providers.base import ModelRequest, ModelSelected, TokenUsage
from streaming.providers.limits import MAX_COUNT
from streaming.providers.token_estimate import part_tokens, request_tokens


class BudgetReached(Exception):
    """The budget of the run's caller does not allow another model call."""


class Meter(Protocol):
    """Bounds the use of a run, and adds up its cost."""

    @property
    def cost(self) -> int | None:
        """The cost in billionths of a US dollar; None: the price is unknown."""
        ...

    async def reserve(self, request: ModelRequest) -> None:
        """Reserve the highest use of a model call. Raises `BudgetReached`."""
        ...

    def add(self, usage: TokenUsage, model: ModelSelected | None) -> None:
        """Count the use of the reserved call; `model` is None without fallbacks."""
        ...

    def add_cut(
        self, usage: TokenUsage, model: ModelSelected | None, *, input_counted: bool
    ) -> None:
        """Count the estimated use of the reserved call, which was cut off.

        The accounts of the caller are charged with its highest output instead, and
        with its highest input unless the provider has counted that.
        """
        ...

    def add_lost(self, usage: TokenUsage) -> None:
        """Count the use of a call that died with its process, and was charged then."""
        ...

    def settle(self) -> None:
        """Charge the use of the reserved call, in the attempt's last transaction."""
        ...


@dataclass(slots=True)
class Progress:
    """The state of a run: its messages, usage and counts up to the moment.

    A further attempt begins with the state of the last checkpoint.
    """

    started: float = field(default_factory=time.monotonic)
    messages: list[Message] = field(default_factory=list)
    #: The number of messages that are complete: the last one may be under way.
    settled: int = 0
    usage: TokenUsage = TokenUsage()
    llm_calls: int = 0
    tool_calls: int = 0
    used_tools: list[str] = field(default_factory=list)
    stop_reason: StopReason = "end_turn"
    #: The length of the responses and tool results, in characters.
    added_chars: int = 0
    #: The number of oldest exchanges that did not fit into the context window.
    dropped_exchanges: int = 0
    #: The model of the newest response, of an agent with several.
    selected: ModelSelected | None = None
    #: The JSON of the answer, of an agent with an output type.
    structured_output: bytes = b""
    #: An answer without the required form, which the next response replaces.
    rejected: Message | None = None
    meter: Meter | None = None
    #: The cost that earlier attempts have stored; None: unknown, or there are none.
    cost_before: int | None = None
    #: True once this attempt has advanced: a tool has ended, or a response had none.
    has_advanced: bool = False
    #: Results of tools that only the log of an earlier attempt has, by call id.
    recovered: Mapping[str, ToolResultPart] = field(default_factory=dict)
    #: The texts of responses that were lost with the processes of earlier attempts.
    lost: Sequence[str] = ()
    #: The ids of inputs whose messages it has, and which are not marked as taken yet.
    taken: list[str] = field(default_factory=list)
    #: The results of tools that ended while the attempt was stopped.
    unsent: list[ToolResultPart] = field(default_factory=list)

    @property
    def output(self) -> str:
        """The text of the newest response."""
        responses = [m for m in self.messages if m.role == "assistant"]
        return responses[-1].text if responses else ""

    async def reserve(self, request: ModelRequest) -> None:
        """Reserve the highest use of a model call. Raises `BudgetReached`."""
        if self.meter:
            await self.meter.reserve(request)

    @property
    def iterations(self) -> int:
        """The number of responses so far, without a summary of the history."""
        return sum(
            message.role == "assistant" and not message.is_summary
            for message in self.messages
        )

    def count_calls(self, calls: Sequence[ToolCallPart]) -> None:
        """Count the tool calls of a response."""
        self.tool_calls += len(calls)
        for call in calls:
            if call.name not in self.used_tools:
                self.used_tools.append(call.name)

    def add_results(self, results: Sequence[ToolResultPart]) -> None:
        """Append the results of tools as a message."""
        if results:
            self.messages.append(Message("tool", [*results]))
            self.added_chars += sum(len(result.result) for result in results)
            self.settled = len(self.messages)

    def count_lost(self, request: ModelRequest) -> None:
        """Add estimates of the calls that were lost with the processes of attempts.

        Their requests were like this one, the first of the attempt.
        """
        for text in self.lost:
            usage = TokenUsage(
                round(request_tokens(request)), part_tokens([TextPart(text)])
            )
            self.llm_calls += 1
            self._sum(usage)
            if self.meter:
                self.meter.add_lost(usage)
        self.lost = ()

    def count(self, request: ModelRequest, response: ResponseBuilder) -> TokenUsage:
        """Add the usage and the length of a model call; return its usage.

        Called while the exception by which the call has ended is handled.
        """
        usage = _complete_usage(request, response)
        if response.message.parts:
            self.selected = response.selected or self.selected
        if self.meter and _is_cut(response, sys.exception()):
            self._sum(usage)
            has_input = bool(response.usage.input_tokens)
            self.meter.add_cut(usage, response.selected, input_counted=has_input)
        else:
            self._add(usage, response.selected)
        for model, failed in response.failed_usage:
            self._add(failed, model)
        self.added_chars += response.size
        return usage

    def _add(self, usage: TokenUsage, model: ModelSelected | None) -> None:
        self._sum(usage)
        if self.meter:
            self.meter.add(usage, model)

    def _sum(self, usage: TokenUsage) -> None:
        before, added = structs.astuple(self.usage), structs.astuple(usage)
        sums = [min(a + b, MAX_COUNT) for a, b in zip(before, added, strict=True)]
        self.usage = TokenUsage(*sums)

    def add_response(self, message: Message) -> None:
        """Append a response, in the place of one that was rejected."""
        # Not always the last message: a summary of the history may follow it.
        self.messages = [each for each in self.messages if each is not self.rejected]
        self.rejected = None
        self.messages.append(message)

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


def _complete_usage(request: ModelRequest, response: ResponseBuilder) -> TokenUsage:
    """Return the usage of a call, with estimates of what the provider did not count.

    The output of a response that was cut short is at least what has arrived of it.
    """
    counted = response.usage
    is_whole = bool(response.stop_reason) and not response.is_full
    sent, received = counted.input_tokens, counted.output_tokens
    if not sent:
        sent = round(request_tokens(request))
    if not is_whole or not received:
        received = max(received, part_tokens(response.message.parts))
    return structs.replace(counted, input_tokens=sent, output_tokens=received)


def _is_cut(response: ResponseBuilder, error: BaseException | None) -> bool:
    """Return whether the model may have written more than is counted or has arrived.

    Most providers count with the end of a response, and reasoning and the arguments of
    a tool call may be hidden until then. A request that was refused, that found no
    server, or that was not sent has no output.
    """
    if response.stop_reason and not response.is_full:
        return response.stop_reason == "max_tokens" and not response.usage.output_tokens
    if isinstance(error, ProviderIncomplete | ProviderTimeout):
        return True
    if isinstance(error, ProviderError):
        return error.has_output or bool(response.message.parts)
    return not isinstance(error, BudgetReached)
