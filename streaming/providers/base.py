"""The port of a model provider: a request in, batches of deltas out.

A batch holds the deltas of one read from the provider's connection, so that one read
wakes its consumer once. The agent joins the deltas into parts (see `ResponseBuilder`);
a provider keeps no text of its own.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec
from msgspec import UNSET, UnsetType

from streaming.messages import Message, OpaquePart, ToolCallPart, ToolSpec
from streaming.options import Options, Setting
from streaming.providers.limits import ResponseLimits

#: The reason for which the model stopped. `pause_turn`: it continues in another call.
ResponseStopReason = Literal[
    "end_turn", "tool_use", "max_tokens", "refusal", "pause_turn"
]


class ProviderOptions(Options, frozen=True):
    """The settings that all providers share; a provider's own are in a subclass."""

    #: The model for which `LLM_MODEL` is not set.
    default_model: ClassVar[str] = ""

    llm_provider: Annotated[
        str,
        Setting(
            "Provider of the model.",
            expected="`anthropic`, `openai`, `demo` or the dotted path of a class",
            default="the first whose key is set, else `demo`",
        ),
    ] = ""
    llm_model: Annotated[str, Setting("Model.", default="the provider's")] = ""
    llm_max_tokens: Annotated[
        int, Setting("Maximum length of one response.", "tokens", minimum=1)
    ] = 8192
    llm_context_window: Annotated[
        int,
        Setting(
            "Context window of the model. The oldest exchanges that do not fit are "
            "left out. 0: that of a known model, or the one that an error of the "
            "server names.",
            "tokens",
            minimum=0,
        ),
    ] = 0
    llm_thinking: Annotated[
        str,
        Setting(
            "Amount of reasoning: an effort or a budget of tokens. "
            "`auto` leaves it to the model.",
            pattern=r"auto|off|low|medium|high|\d+",
            expected="auto, off, low, medium, high or a number of tokens",
        ),
    ] = "auto"
    llm_connect_timeout_seconds: Annotated[
        float,
        Setting("Timeout of the connection to the provider.", "seconds", minimum=0),
    ] = 10.0
    llm_first_token_timeout_seconds: Annotated[
        float,
        Setting(
            "Timeout from the request to the first output of the model: text, "
            "reasoning or a part of a tool call.",
            "seconds",
            minimum=0,
        ),
    ] = 120.0
    llm_silence_timeout_seconds: Annotated[
        float,
        Setting(
            "Timeout between two reads of a response that has begun.",
            "seconds",
            minimum=0,
        ),
    ] = 120.0
    llm_response_timeout_seconds: Annotated[
        float,
        Setting(
            "Maximum duration of one response, however lively it is.",
            "seconds",
            minimum=0,
        ),
    ] = 3600.0
    llm_max_retries: Annotated[
        int,
        Setting(
            "Maximum number of retries of a model call. "
            "A call is retried only before its first output.",
            minimum=0,
        ),
    ] = 2
    llm_max_response_chars: Annotated[
        int,
        Setting(
            "Length of a response, with its reasoning and tool calls, at which the "
            "model is stopped as by its token limit (`max_tokens`).",
            "characters",
            minimum=1,
        ),
    ] = ResponseLimits().chars
    llm_max_arguments_chars: Annotated[
        int,
        Setting(
            "Length of the arguments of one tool call at which the model is stopped; "
            "the call is dropped.",
            "characters",
            minimum=1,
        ),
    ] = ResponseLimits().arguments_chars
    llm_max_tool_calls: Annotated[
        int,
        Setting(
            "Number of tool calls of one response that are executed; further ones are "
            "ignored.",
            minimum=1,
        ),
    ] = ResponseLimits().tool_calls

    @property
    def model_name(self) -> str:
        """Return the name of the model."""
        return self.llm_model or self.default_model

    @property
    def max_output_tokens(self) -> int:
        """Return the highest number of tokens of one response, reasoning included."""
        budget = int(self.llm_thinking) if self.llm_thinking.isdigit() else 0
        # A budget that exceeds the length of a response is added to it.
        return self.llm_max_tokens + budget

    @property
    def limits(self) -> ResponseLimits:
        """Return the bounds of one response."""
        return ResponseLimits(
            self.llm_max_response_chars,
            self.llm_max_arguments_chars,
            self.llm_max_tool_calls,
        )


class OutputBegun(msgspec.Struct, frozen=True):
    """The model has begun to produce output that has no other delta yet.

    The first bytes of a tool call, or reasoning that is not shown. From here on the
    response has cost something, so it is not requested again.
    """


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the response's text, or of a refusal's."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the reasoning."""

    text: str


class ThinkingEnd(msgspec.Struct, frozen=True):
    """The end of a reasoning block.

    `opaque` must be sent back to the provider unchanged with the block. A block may
    have no `ThinkingDelta` (reasoning that is not shown).
    """

    provider: str
    opaque: dict[str, Any]


class TokenUsage(msgspec.Struct, frozen=True):
    """The tokens of this model call so far; a later value replaces an earlier one.

    `input_tokens` includes cached tokens, `output_tokens` includes reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class ExchangesDropped(msgspec.Struct, frozen=True):
    """The number of oldest exchanges without which the request is sent.

    They exceed the context window. Later requests of the run need not have them. This
    delta is the first of a batch before any output: a consumer may end the call here,
    before the request is sent, and make another one.
    """

    count: int


class ModelSelected(msgspec.Struct, frozen=True):
    """The model that is called from here on, of a provider that has several.

    It precedes the other deltas of each model that is called. `after_failure` is true
    if a model before it has failed in the same call: the counts since its own
    `ModelSelected` belong to that one.
    """

    provider: str
    model: str
    origin: str
    after_failure: bool = False


class ResponseEnd(msgspec.Struct, frozen=True):
    """The regular end of a model call; always the last delta."""

    stop_reason: ResponseStopReason


#: A `ToolCallPart` is complete, with the arguments as the model wrote them (`{}` for
#: none). A call that the token limit cut off is omitted.
Delta = (
    OutputBegun
    | TextDelta
    | ThinkingDelta
    | ThinkingEnd
    | ToolCallPart
    | OpaquePart
    | TokenUsage
    | ExchangesDropped
    | ModelSelected
    | ResponseEnd
)


class ModelRequest(msgspec.Struct, frozen=True):
    """One model call.

    With `allow_tools` false the request describes the tools, since the history may hold
    calls of them, but the model must answer without calling any. `avoid` are causes of
    refusals that this call alone avoids. `output` describes the expected answer: its
    `parameters` are the schema. A model that cannot be given a schema calls it as a
    tool instead.
    """

    system: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    allow_tools: bool = True
    avoid: frozenset[str] = frozenset()
    output: ToolSpec | UnsetType = UNSET

    @property
    def may_end_empty(self) -> bool:
        """True if the model may have nothing to add to the results of its tools.

        It has written text beside the calls. Anthropic documents an empty response
        as the regular end of such an exchange.
        """
        if not self.messages or self.messages[-1].role != "tool":
            return False
        for message in reversed(self.messages):
            if message.role == "user":
                break
            if message.role == "assistant" and message.text.strip():
                return True
        return False


class Provider(Protocol):
    """A way to a model, created once per event loop and used by many runs at once.

    The class of a provider is called with its options. Four attributes are optional:
    `options_type`, the subclass of `ProviderOptions` with its own settings (read from
    a class named by its dotted path), `needs_retries = False`, which omits the timeouts
    and retries of `RetryingProvider`, `origin`, the server, API and model that opaque
    parts come from, and `takes_output = True` if the provider reads
    `ModelRequest.output`: without it the model receives a tool in its place.
    See also `AdaptiveProvider`.
    """

    name: str
    model: str

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Call the model and yield batches of deltas, ending with `ResponseEnd`.

        An empty batch shows that the connection is alive. Closing the generator, or
        cancelling the task that reads it, closes the connection to the provider.

        Raises `ProviderError` or a subclass, also in mid-stream; a stream that ends
        without its terminal event raises `ProviderIncomplete`.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections that are kept for reuse."""
        ...


@runtime_checkable
class AdaptiveProvider(Protocol):
    """The optional part of a provider that learns from refused requests."""

    @property
    def learned(self) -> frozenset[str]:
        """The causes of refusals without which all requests are built."""
        ...

    def find_cause(
        self, request: ModelRequest, refusal: str, sent_without: frozenset[str]
    ) -> str | None:
        """Return the cause of a refusal that another request avoids; None without one.

        `refusal` is the server's text, `sent_without` the causes that the request was
        built without: those that were learned, and those that it avoids.
        """
        ...

    def learn(self, cause: str) -> None:
        """Build all later requests without a cause."""
        ...
