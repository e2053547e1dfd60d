"""What a model provider is to the agent: a request in, batches of deltas out.

A batch is what one read of the provider's connection brought, so that whoever waits
is woken once for it. The agent joins the deltas into parts (see `turn.Turn`); a
provider keeps no text of its own.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from streaming.messages import Message, OpaquePart, ToolCallPart, ToolSpec

ProviderName = Literal["anthropic", "openai", "demo"]

#: How much to think, beside a number of tokens. "auto" leaves it to the model.
THINKING_WORDS = ("auto", "off", "low", "medium", "high")

#: Why the model stopped. `pause_turn`: it wants to go on in another call.
ResponseStopReason = Literal[
    "end_turn", "tool_use", "max_tokens", "refusal", "pause_turn"
]


class ProviderOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model answers, and how patient we are with it. Times are in seconds."""

    name: ProviderName = "demo"
    #: Empty: the provider's default.
    model: str = ""
    api_key: str = ""
    #: Empty: the SDK's own.
    base_url: str = ""
    #: Empty: Responses against OpenAI itself, Chat Completions elsewhere.
    openai_api: Literal["", "responses", "chat"] = ""
    max_tokens: int = 8192
    #: "auto", "off", an effort ("low", "medium", "high") or a budget of tokens.
    thinking: str = "auto"
    connect_timeout: float = 10.0
    first_token_timeout: float = 120.0
    silence_timeout: float = 120.0
    max_retries: int = 2
    #: Of the demo model: pause between two words.
    demo_delay: float = 0.02

    def __post_init__(self) -> None:
        """Refuse a `thinking` that no provider knows, where the cause can be named."""
        if self.thinking not in THINKING_WORDS and not self.thinking.isdecimal():
            raise ValueError(
                f"LLM_THINKING must be {', '.join(THINKING_WORDS)} "
                f"or a number of tokens, not {self.thinking!r}."
            )

    def __repr__(self) -> str:
        """As usual, but without the API key."""
        shown = msgspec.structs.asdict(self)
        if self.api_key:
            shown["api_key"] = "***"
        fields = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({fields})"


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the answer. A refusal's text comes this way too."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    """More reasoning."""

    text: str


class ThinkingEnd(msgspec.Struct, frozen=True):
    """The reasoning block under way is whole.

    `opaque` is what the provider wants back unchanged with it. It may come without
    any `ThinkingDelta` before it (reasoning that is not shown).
    """

    provider: str
    opaque: dict[str, Any]


class TokenUsage(msgspec.Struct, frozen=True):
    """Tokens of this model call so far; a later one replaces an earlier one.

    `input_tokens` includes cached tokens, `output_tokens` includes reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class ResponseEnd(msgspec.Struct, frozen=True):
    """The model call ended as it should; always the last delta."""

    stop_reason: ResponseStopReason


#: `ToolCallPart` comes whole, its arguments as the model wrote them (`{}` for none);
#: one that was cut off by the token limit never comes.
Delta = (
    TextDelta
    | ThinkingDelta
    | ThinkingEnd
    | ToolCallPart
    | OpaquePart
    | TokenUsage
    | ResponseEnd
)


class ModelRequest(msgspec.Struct, frozen=True):
    """One model call.

    With `allow_tools` false the model is told of the tools (the history may hold calls
    of them) but must answer without.
    """

    system: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    allow_tools: bool = True


class Provider(Protocol):
    """One way to a model. Made once per event loop, used by many runs at once."""

    name: str
    model: str

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Call the model and yield batches of deltas, ending with `ResponseEnd`.

        A batch may be empty: a sign of life that brought nothing to tell. Closing the
        generator, or cancelling the task that reads it, closes the connection to the
        provider.

        Raises `ProviderError` or one of its kinds, also in mid-stream; a stream that
        ends without its terminal event raises `ProviderIncomplete`.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections that are kept for reuse."""
        ...
