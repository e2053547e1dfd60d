"""The bounds of a response and of a run, and responses without an answer."""

from collections.abc import Sequence

import pytest

from streaming.agent.response import ResponseBuilder
from streaming.events import Content
from streaming.exceptions import ProviderError
from streaming.messages import (
    Message,
    OpaquePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from streaming.providers.base import (
    Delta,
    ModelRequest,
    OutputBegun,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    TokenUsage,
)
from streaming.providers.limits import ResponseLimits
from streaming.tools import tool
from tests.agent.test_loop import QUESTION, Response, Scene

FIRST = ModelRequest("", [QUESTION])
SMALL = ResponseLimits(chars=10, arguments_chars=5, tool_calls=2)


def built(
    *batches: Sequence[Delta], limits: ResponseLimits = SMALL
) -> tuple[ResponseBuilder, str]:
    """A response of these batches, and the text of its events."""
    response = ResponseBuilder(limits=limits)
    events = [event for batch in batches for event in response.add(batch)]
    text = "".join(event.content for event in events if isinstance(event, Content))
    return response, text


# One response


@pytest.mark.parametrize(
    "batches",
    [
        [[TextDelta("x" * 11)]],
        [[TextDelta("x" * 10), TextDelta("x")]],
        [[TextDelta("x" * 6)], [TextDelta("x" * 6), TextDelta("x" * 60)]],
        [[TextDelta("x" * 10)], [TextDelta("x"), ResponseEnd("end_turn")]],
    ],
)
def test_text_beyond_the_limit_is_cut(batches: Sequence[Sequence[Delta]]) -> None:
    response, sent = built(*batches)
    assert response.message.text == sent == "x" * 10
    assert response.is_full
    assert response.stop_reason == "max_tokens"
    assert response.size == 10


def test_text_up_to_the_limit_is_whole() -> None:
    response, sent = built([TextDelta("x" * 10), ResponseEnd("end_turn")])
    assert sent == "x" * 10
    assert not response.is_full
    assert response.stop_reason == "end_turn"


def test_reasoning_counts_and_is_cut_too() -> None:
    response, sent = built([ThinkingDelta("y" * 8), TextDelta("x" * 8)])
    assert response.message.parts == [ThinkingPart("y" * 8), TextPart("xx")]
    assert sent == "xx"


@pytest.mark.parametrize(
    "delta",
    [
        OpaquePart("anthropic", {"data": "x" * 10}),
        ThinkingEnd("anthropic", {"signature": "x" * 10}),
        ToolCallPart("1", "echo", "123456"),
        ToolCallPart("1", "echo" * 10, "{}"),
    ],
)
def test_a_part_beyond_a_limit_is_dropped(delta: Delta) -> None:
    response, _ = built([TextDelta("Hi"), delta, ResponseEnd("tool_use")])
    assert response.message.parts == [TextPart("Hi")]
    assert response.stop_reason == "max_tokens"


def test_calls_beyond_the_limit_are_ignored() -> None:
    calls = [ToolCallPart(str(number), "a", "") for number in range(4)]
    response, _ = built([*calls, ResponseEnd("tool_use")])
    assert response.message.tool_calls == calls[:2]
    assert response.stop_reason == "tool_use"


def test_pieces_are_joined_in_between() -> None:
    limits = ResponseLimits()
    batches = [[TextDelta("ab")]] * 10_000
    response, sent = built(*batches, limits=limits)
    assert response.message.parts == [TextPart("ab" * 10_000)]
    assert sent == "ab" * 10_000


# An answer is missing


@tool
async def echo(text: str) -> str:
    """Return the text a hundred times."""
    return text * 100


def calls(*ids: str) -> Response:
    """A response with calls of `echo`."""
    made = [ToolCallPart(id, "echo", '{"text": "0123456789"}') for id in ids]
    return [[*made, ResponseEnd("tool_use")]]


@pytest.mark.parametrize(
    ("deltas", "retryable"),
    [
        ([ResponseEnd("end_turn")], True),
        ([ResponseEnd("tool_use")], True),
        ([ResponseEnd("pause_turn")], True),
        ([], True),
        ([ThinkingDelta("Hm."), ResponseEnd("end_turn")], True),
        ([TextDelta(" \n"), ResponseEnd("end_turn")], True),
        ([OutputBegun(), ResponseEnd("end_turn")], True),
        ([ThinkingDelta("Hm."), ResponseEnd("max_tokens")], False),
        ([TokenUsage(0, 9, 9), ResponseEnd("max_tokens")], False),
    ],
)
def test_a_response_without_an_answer_is_an_error(
    deltas: Sequence[Delta], retryable: bool
) -> None:
    response, _ = built(deltas)
    with pytest.raises(ProviderError) as failure:
        response.check(FIRST)
    assert failure.value.retryable is retryable


@pytest.mark.parametrize(
    "deltas",
    [
        [TextDelta("Hi"), ResponseEnd("end_turn")],
        [ToolCallPart("1", "a", ""), ResponseEnd("tool_use")],
        [ThinkingDelta("Hm."), ResponseEnd("refusal")],
        [OutputBegun(), ResponseEnd("max_tokens")],
        [OpaquePart("a", {}), ResponseEnd("pause_turn")],
    ],
)
def test_other_responses_are_none(deltas: Sequence[Delta]) -> None:
    built(deltas)[0].check(FIRST)


@pytest.mark.parametrize("text", ["Look: ", ""])
async def test_a_model_that_has_written_may_add_nothing_to_results(text: str) -> None:
    call = ToolCallPart("1", "echo", '{"text": "a"}')
    end = ResponseEnd("tool_use")
    responses: list[Response] = [
        [[TextDelta(text), call, end]],
        [[ResponseEnd("end_turn")]],
    ]
    scene = Scene(responses, [echo])
    if text:
        await scene.run()
        assert scene.progress.output == text
        assert scene.progress.stop_reason == "end_turn"
    else:
        with pytest.raises(ProviderError):
            await scene.run()


async def test_a_limit_used_up_by_reasoning_names_the_settings() -> None:
    response: Response = [[ThinkingDelta("Hm."), ResponseEnd("max_tokens")]]
    scene = Scene([response])
    with pytest.raises(ProviderError, match=r"LLM_MAX_TOKENS.*LLM_THINKING"):
        await scene.run()
    assert scene.progress.messages == [Message("assistant", [ThinkingPart("Hm.")])]


# A run


async def test_a_run_ends_once_it_has_added_too_much() -> None:
    responses = [calls("1"), calls("2"), calls("3")]
    scene = await Scene(responses, [echo], max_run_chars=1500).run()
    assert scene.progress.stop_reason == "max_tokens"
    assert len(scene.provider.requests) == 2
    assert scene.progress.added_chars <= 1500 + 100
    [_, first, _, second] = scene.progress.messages
    [whole], [cut] = first.parts, second.parts
    assert isinstance(whole, ToolResultPart)
    assert isinstance(cut, ToolResultPart)
    assert len(whole.result) == 1000
    assert "of 1,000 characters" in cut.result


async def test_the_results_of_one_response_share_what_is_left() -> None:
    scene = await Scene([calls("1", "2")], [echo], max_run_chars=1000).run()
    results = scene.progress.messages[-1].parts
    sizes = [len(r.result) for r in results if isinstance(r, ToolResultPart)]
    assert len(sizes) == 2
    assert sum(sizes) < 1000 + 100


async def test_the_response_gets_what_is_left_of_the_run() -> None:
    endless: Response = [[TextDelta("x" * 100)]] * 100
    scene = await Scene([calls("1"), endless], [echo], max_run_chars=1500).run()
    assert scene.progress.stop_reason == "max_tokens"
    assert scene.progress.added_chars == 1500
    assert scene.provider.open_streams == 0
    assert set(scene.progress.output) == {"x"}


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens"])
async def test_the_usage_of_a_stopped_response_is_what_arrived(
    reason: ResponseStopReason,
) -> None:
    endless: Response = [
        [TokenUsage(7, 1)],
        [TextDelta("x" * 4000), ResponseEnd(reason)],
    ]
    scene = await Scene([endless], max_run_chars=2000).run()
    assert scene.progress.usage.input_tokens == 7
    assert scene.progress.usage.output_tokens > 2000 // 5
