"""One response of the model, built from deltas of every kind in every order."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.agent.response import ResponseBuilder
from streaming.events import Content, Event, Thinking
from streaming.messages import (
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from streaming.providers.base import (
    Delta,
    ExchangesDropped,
    ModelSelected,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    TokenUsage,
)

CALL = ToolCallPart("call_1", "clock", "{}")
OPAQUE = OpaquePart("anthropic", {"type": "redacted_thinking"})
SIGNED = ThinkingEnd("anthropic", {"signature": "s"})

Atom = tuple[object, ...]

NAMES = st.sampled_from(["a", "b"])
DATA = st.dictionaries(NAMES, NAMES, max_size=1)
COUNTS = st.integers(0, 9)
REASONS = st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal"])


def deltas_of(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[Delta]]:
    """Deltas of every kind in every order."""
    kinds: list[st.SearchStrategy[Delta]] = [
        st.builds(TextDelta, texts),
        st.builds(ThinkingDelta, texts),
        st.builds(ThinkingEnd, NAMES, DATA),
        st.builds(ToolCallPart, NAMES, NAMES, st.just("{}")),
        st.builds(OpaquePart, NAMES, DATA),
        st.builds(TokenUsage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
        st.builds(ResponseEnd, REASONS),
    ]
    return st.lists(st.one_of(kinds), max_size=15)


DELTAS = deltas_of(st.text("xy", max_size=3))
DELTAS_WITH_TEXT = deltas_of(st.text("xy", min_size=1, max_size=3))


def built(*deltas: Delta) -> ResponseBuilder:
    """A response of one batch of deltas."""
    response = ResponseBuilder()
    response.add(deltas)
    return response


def atoms_of_deltas(deltas: Sequence[Delta]) -> Iterator[Atom]:
    """The content of deltas in order, each character apart."""
    for delta in deltas:
        match delta:
            case TextDelta(text):
                yield from (("text", character) for character in text)
            case ThinkingDelta(text):
                yield from (("thinking", character) for character in text)
            case ThinkingEnd(provider, opaque):
                yield ("thinking end", provider, opaque)
            case ToolCallPart() | OpaquePart():
                yield (delta,)


def atoms_of_parts(parts: Sequence[Part]) -> Iterator[Atom]:
    """The content of parts in order, each character apart."""
    for part in parts:
        match part:
            case TextPart(text):
                yield from (("text", character) for character in text)
            case ThinkingPart(text, provider, opaque):
                yield from (("thinking", character) for character in text)
                if opaque is not None:
                    yield ("thinking end", provider, opaque)
            case _:
                yield (part,)


def without_times(events: Sequence[Event]) -> list[tuple[type[Event], str]]:
    """The events' types and texts."""
    return [
        (type(event), event.content if isinstance(event, Content) else step_of(event))
        for event in events
    ]


def step_of(event: Event) -> str:
    """The text of a thinking event, the only other kind that a response has."""
    assert isinstance(event, Thinking)
    return event.thinking_step


@given(DELTAS)
def test_the_message_has_all_content_in_order(deltas: list[Delta]) -> None:
    message = built(*deltas).message
    assert message.role == "assistant"
    assert list(atoms_of_parts(message.parts)) == list(atoms_of_deltas(deltas))


@given(DELTAS_WITH_TEXT)
def test_neighbouring_text_and_thinking_are_joined(deltas: list[Delta]) -> None:
    parts = built(*deltas).message.parts
    assert TextPart("") not in parts
    assert ThinkingPart("") not in parts
    for part, following in pairwise(parts):
        assert not (isinstance(part, TextPart) and isinstance(following, TextPart))
        if isinstance(part, ThinkingPart) and part.opaque is None:
            assert not isinstance(following, ThinkingPart)


@given(DELTAS, st.lists(st.integers(0, 15)))
def test_the_cuts_between_batches_do_not_matter(
    deltas: list[Delta], cuts: list[int]
) -> None:
    whole, cut = ResponseBuilder(), ResponseBuilder()
    events = whole.add(deltas)
    edges = sorted({0, len(deltas), *(cut for cut in cuts if cut < len(deltas))})
    pieces = [cut.add(deltas[start:end]) for start, end in pairwise(edges)]
    assert without_times(sum(pieces, [])) == without_times(events)
    assert cut.message == whole.message
    assert (cut.usage, cut.stop_reason) == (whole.usage, whole.stop_reason)


@given(DELTAS)
def test_the_message_can_be_read_at_any_time(deltas: list[Delta]) -> None:
    response = ResponseBuilder()
    for delta in deltas:
        response.add([delta])
        before = response.message
        assert response.message == before
        before.parts.clear()
    assert response.message == built(*deltas).message


@given(DELTAS)
def test_each_text_and_thinking_delta_is_one_event(deltas: list[Delta]) -> None:
    expected: list[tuple[type[Event], str]] = []
    for delta in deltas:
        match delta:
            case TextDelta(text):
                expected.append((Content, text))
            case ThinkingDelta(text):
                expected.append((Thinking, text))
    events = ResponseBuilder().add(deltas)
    assert without_times(events) == expected
    assert len({event.timestamp for event in events}) <= 1


@given(DELTAS)
def test_the_last_usage_and_stop_reason_count(deltas: list[Delta]) -> None:
    response = built(*deltas)
    usages = [delta for delta in deltas if isinstance(delta, TokenUsage)]
    reasons = [d.stop_reason for d in deltas if isinstance(d, ResponseEnd)]
    assert response.usage == (usages[-1] if usages else TokenUsage())
    assert response.stop_reason == (reasons[-1] if reasons else None)


@pytest.mark.parametrize(
    ("deltas", "parts"),
    [
        (
            [ThinkingDelta("a"), ThinkingDelta("b"), SIGNED],
            [ThinkingPart("ab", "anthropic", {"signature": "s"})],
        ),
        ([SIGNED], [ThinkingPart("", "anthropic", {"signature": "s"})]),
        (
            [ThinkingDelta("a"), TextDelta("b"), SIGNED],
            [
                ThinkingPart("a"),
                TextPart("b"),
                ThinkingPart("", "anthropic", {"signature": "s"}),
            ],
        ),
        (
            [TextDelta("a"), CALL, TextDelta("b"), OPAQUE],
            [TextPart("a"), CALL, TextPart("b"), OPAQUE],
        ),
    ],
)
def test_a_block_ends_with_its_kind(deltas: list[Delta], parts: list[Part]) -> None:
    assert built(*deltas).message.parts == parts


@pytest.mark.parametrize(
    ("reason", "content", "expected"),
    [
        ("tool_use", [CALL], True),
        ("tool_use", [TextDelta("a")], False),
        ("pause_turn", [TextDelta("a")], True),
        ("pause_turn", [], False),
        ("end_turn", [CALL], False),
        ("max_tokens", [CALL], False),
        ("refusal", [CALL], False),
    ],
)
def test_a_tool_call_or_a_pause_needs_another_call(
    reason: ResponseStopReason, content: list[Delta], expected: bool
) -> None:
    assert built(*content, ResponseEnd(reason)).needs_another_call is expected


def test_a_response_without_its_end_needs_no_other_call() -> None:
    assert not built(CALL).needs_another_call


def test_a_failed_model_leaves_its_usage_and_not_its_dropped_exchanges() -> None:
    response = ResponseBuilder()
    response.add([ExchangesDropped(3)])  # summarized before this call
    response.add([ModelSelected("a", "first", "origin of a")])
    response.add([ExchangesDropped(5), TokenUsage(100)])
    second = ModelSelected("b", "second", "origin of b", after_failure=True)
    response.add([second])
    response.add([TokenUsage(10, 2), TextDelta("Hi"), ResponseEnd("end_turn")])
    assert response.dropped_exchanges == 3
    assert response.selected == second
    assert response.usage == TokenUsage(10, 2)
    [(model, usage)] = response.failed_usage
    assert (model.model, usage) == ("first", TokenUsage(100))


def test_a_call_that_begins_anew_keeps_its_dropped_exchanges() -> None:
    response = ResponseBuilder()
    first = ModelSelected("a", "first", "")
    response.add([first])
    response.add([ExchangesDropped(2)])  # its request is made again with a summary
    response.add([first])
    assert response.dropped_exchanges == 2
    assert response.failed_usage == []
