"""Estimated tokens, compared with the counts of real tokenizers."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    split_exchanges,
    user_message,
)
from streaming.providers.base import ModelRequest
from streaming.providers.token_estimate import (
    fixed_tokens,
    message_tokens,
    part_tokens,
    request_tokens,
    text_tokens,
)
from tests.providers import histories
from tests.providers.token_texts import TEXTS


@pytest.mark.parametrize("name", TEXTS)
def test_an_estimate_is_close_to_the_counts_of_tokenizers(name: str) -> None:
    text, counts = TEXTS[name]
    for tokenizer, count in counts.items():
        assert text_tokens(text) == pytest.approx(count, rel=0.2), tokenizer


@given(st.text(st.characters(), max_size=200))
def test_any_text_has_an_estimate(text: str) -> None:
    assert 0 <= text_tokens(text) <= 2.5 * len(text)


def test_a_very_long_text_is_estimated_by_pieces() -> None:
    text, _ = TEXTS[next(iter(TEXTS))]
    times = 5_000_000 // len(text)
    assert text_tokens(text * times) == pytest.approx(
        text_tokens(text) * times, rel=0.02
    )


def test_half_of_a_surrogate_pair_has_an_estimate() -> None:
    assert text_tokens("a\ud83d") > text_tokens("a")


@given(histories.histories(histories.ELSEWHERE))
def test_the_tokens_of_exchanges_add_up(history: list[Message]) -> None:
    exchanges = split_exchanges(history)
    whole = message_tokens(chain.from_iterable(exchanges))
    assert whole == pytest.approx(sum(map(message_tokens, exchanges)))


@pytest.mark.parametrize(
    "part",
    [
        TextPart("word " * 50),
        ThinkingPart("word " * 50),
        ThinkingPart("", "openai", {"encrypted_content": "gAAAA" * 50}),
        ToolCallPart("1", "search", '{"query": "' + "word " * 50 + '"}'),
        ToolResultPart("1", "search", "word " * 50),
        OpaquePart("anthropic", {"data": "gAAAA" * 50}),
    ],
)
def test_each_kind_of_part_counts(part: Part) -> None:
    assert 25 < part_tokens([part]) < 100
    grown = message_tokens([Message("assistant", [TextPart("Hi"), part])])
    assert grown > message_tokens([Message("assistant", [TextPart("Hi")])]) + 25


def test_the_system_prompt_and_the_tools_count() -> None:
    tool = ToolSpec("weather", "The weather in a city.", {"type": "object"})
    request = ModelRequest("Be brief. " * 10, [user_message("Hi")], [tool])
    alone = message_tokens(request.messages)
    assert fixed_tokens(request) > 30
    assert request_tokens(request) == alone + fixed_tokens(request)
