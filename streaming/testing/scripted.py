"""A scripted model for the tests of projects: its responses, and the requests it got.

    model = scripted(call("order_status", number=7), "It is on its way.")
    with support.override(model=model):
        run = support.run_sync("Where is order 7?")
    assert model.requests[-1].messages[-1].parts == [...]

Each model call takes the next response. A response is a text, a tool call, an error
that is raised, or a list of these with `thinking`, `pause`, `TokenUsage` and
`ResponseEnd`. A function of the request makes the responses of all calls.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

import msgspec

from streaming.exceptions import ProviderError
from streaming.messages import ToolCallPart, ToolResultPart
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
)

WORD = re.compile(r"\s*\S+|\s+$")


class Pause(msgspec.Struct, frozen=True):
    """A time in seconds for which the model is silent."""

    seconds: float


Piece = (
    str | ThinkingDelta | ToolCallPart | Pause | Exception | TokenUsage | ResponseEnd
)
Response = Piece | Sequence[Piece]
MakeResponse = Callable[[ModelRequest], Response]


class ScriptedModel:
    """A model with scripted responses. See `Provider`.

    `requests` are the requests of its calls, with `system`, `messages` and `tools`.
    """

    name = "scripted"
    model = "scripted"
    needs_retries = False
    #: Limits of cost apply to models with a known price.
    is_free = True

    def __init__(self, responses: Sequence[Response] | MakeResponse) -> None:
        self.requests: list[ModelRequest] = []
        self._responses = responses
        self._calls = 0

    @property
    def tool_results(self) -> list[ToolResultPart]:
        """The results of tools that the newest request has, in order."""
        parts = (part for m in self.requests[-1].messages for part in m.parts)
        return [part for part in parts if isinstance(part, ToolResultPart)]

    def assert_finished(self) -> None:
        """Raise `AssertionError` if some responses were not used."""
        if not callable(self._responses):
            left = self._responses[len(self.requests) :]
            assert not left, f"the model was not called for {list(left)!r}"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta]]:
        """Respond to a request. See `Provider`."""
        self.requests.append(request)
        pieces = self._next_response(request)
        usage: TokenUsage | None = None
        stop_reason: ResponseStopReason = "end_turn"
        for piece in pieces:
            match piece:
                case str():
                    for word in WORD.findall(piece):
                        yield [TextDelta(word)]
                case ThinkingDelta():
                    yield [piece]
                case ToolCallPart():
                    stop_reason = "tool_use"
                    self._calls += 1
                    yield [msgspec.structs.replace(piece, id=f"call_{self._calls}")]
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case TokenUsage():
                    usage = piece
                case ResponseEnd():
                    stop_reason = piece.stop_reason
                case Exception():
                    raise piece
            await asyncio.sleep(0)
        yield [usage or _usage(request, pieces), ResponseEnd(stop_reason)]

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""

    def _next_response(self, request: ModelRequest) -> Sequence[Piece]:
        if callable(self._responses):
            response = self._responses(request)
        elif len(self.requests) <= len(self._responses):
            response = self._responses[len(self.requests) - 1]
        else:
            raise ProviderError(
                f"The scripted model has {len(self._responses)} responses, and was "
                "called once more."
            )
        return [response] if isinstance(response, Piece) else response


def scripted(*responses: Response | MakeResponse) -> ScriptedModel:
    """Return a model with these responses, or with those that one function makes."""
    match responses:
        case [function] if callable(function):
            return ScriptedModel(function)
    return ScriptedModel([*_without_functions(responses)])


def call(name: str, **arguments: object) -> ToolCallPart:
    """Return a call of a tool by the model."""
    return ToolCallPart("", name, json.dumps(arguments))


def thinking(text: str) -> ThinkingDelta:
    """Return reasoning of the model."""
    return ThinkingDelta(text)


def pause(seconds: float) -> Pause:
    """Return a time for which the model is silent."""
    return Pause(seconds)


def _without_functions(
    responses: Sequence[Response | MakeResponse],
) -> Iterator[Response]:
    for response in responses:
        if callable(response):
            raise TypeError("scripted() takes one function, or responses.")
        yield response


def _usage(request: ModelRequest, pieces: Sequence[Piece]) -> TokenUsage:
    """Return a token for each word."""
    sent = sum(len(message.text.split()) for message in request.messages)
    received = sum(len(piece.split()) for piece in pieces if isinstance(piece, str))
    return TokenUsage(max(sent, 1), max(received, 1))
