"""The demo model streams as the other providers do, and follows commands."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.exceptions import ProviderError
from streaming.messages import user_message
from streaming.providers import make_provider
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ResponseEnd,
    TextDelta,
    TokenUsage,
)
from streaming.providers.demo.options import DemoOptions
from streaming.providers.demo.provider import DemoProvider
from streaming.providers.demo.sample import MARKDOWN
from tests.cost import hang_guard
from tests.providers.demo_conversation import TOOLBOX, Answer, Conversation, sort

NO_DELAY = DemoOptions(demo_delay_ms=0)


def request(question: str) -> ModelRequest:
    return ModelRequest("", [user_message(question)], TOOLBOX.specs)


async def batches(question: str, options: DemoOptions) -> list[list[Delta]]:
    stream = DemoProvider(options).stream(request(question))
    return [batch async for batch in stream]


async def answer(question: str, options: DemoOptions = NO_DELAY) -> Answer:
    return sort([d for batch in await batches(question, options) for d in batch])


def test_the_registry_makes_it_by_name() -> None:
    provider = make_provider(DemoOptions(llm_provider="demo"))
    assert (provider.name, provider.model) == ("demo", "demo-1")
    assert DemoProvider(DemoOptions(llm_model="demo-2")).model == "demo-2"


async def test_text_is_streamed_word_by_word_and_complete() -> None:
    output = await batches("count to 20", DemoOptions(demo_delay_ms=0.1))
    words = [d.text for batch in output for d in batch if isinstance(d, TextDelta)]
    assert words == ["1", *(f" {number}" for number in range(2, 21))]
    assert max(map(len, output[:-1])) == 1


async def test_the_configured_delay_is_kept_between_words() -> None:
    started = time.perf_counter()
    await batches("count to 10", DemoOptions(demo_delay_ms=10, llm_thinking="off"))
    assert time.perf_counter() - started >= 0.1


async def test_without_a_delay_other_tasks_still_run() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count_turns())
    output = await batches("stream 2000 words", NO_DELAY)
    counter.cancel()
    assert turns >= len(output) - 2 > 100


@pytest.mark.parametrize(
    ("question", "words"),
    [("count to 500", 500), ("stream 2,000 words", 2000)],
)
async def test_a_stream_has_the_requested_length(question: str, words: int) -> None:
    assert len((await answer(question)).text.split()) == words


async def test_a_thought_has_the_requested_length() -> None:
    assert len((await answer("think for 300 words")).thinking.split()) == 300


async def test_thinking_can_be_turned_off() -> None:
    quiet = DemoOptions(demo_delay_ms=0, llm_thinking="off")
    assert (await answer("think for 300 words", quiet)).thinking == ""


async def test_usage_counts_four_characters_as_a_token() -> None:
    first, *_ = await batches("count to 500", NO_DELAY)
    result = await answer("count to 500")
    letters = len(result.text) + len(result.thinking)
    assert first == [TokenUsage(input_tokens=result.usage.input_tokens)]
    assert result.usage.input_tokens > 100
    assert result.usage.output_tokens == -(-letters // 4)
    assert result.usage.reasoning_tokens == -(-len(result.thinking) // 4)


async def test_the_limit_of_tokens_cuts_the_answer() -> None:
    short = DemoOptions(demo_delay_ms=0, llm_max_tokens=50, llm_thinking="off")
    result = await answer("count to 500", short)
    assert result.end == ResponseEnd("max_tokens")
    assert 190 < len(result.text) <= 200
    assert result.usage.output_tokens <= 50


async def test_a_call_beyond_the_limit_of_tokens_is_not_yielded() -> None:
    result = await answer("6 * 7", DemoOptions(demo_delay_ms=0, llm_max_tokens=5))
    assert result.end == ResponseEnd("max_tokens")
    assert result.calls == []


async def test_ids_of_calls_are_unique() -> None:
    calls = [call.id for _ in range(50) for call in (await answer("1+1 and 2+2")).calls]
    assert len(calls) == len(set(calls)) > 0


async def test_a_refusal_has_its_stop_reason() -> None:
    assert (await answer("refuse")).end == ResponseEnd("refusal")


async def test_the_markdown_sample_is_streamed_unchanged() -> None:
    assert (await answer("show markdown")).text == MARKDOWN


async def test_a_failure_follows_the_requested_words() -> None:
    deltas: list[Delta] = []
    with pytest.raises(ProviderError, match="as it was asked to"):
        async for batch in DemoProvider(NO_DELAY).stream(request("fail after 7 words")):
            deltas += batch
    assert sum(isinstance(delta, TextDelta) for delta in deltas) == 7


async def test_a_pause_has_at_least_the_requested_length() -> None:
    started = time.perf_counter()
    assert (await answer("wait 1 second")).text.startswith("I have been silent for 1")
    assert time.perf_counter() - started >= 1


@pytest.mark.parametrize("question", ["count to 500", "wait 300 seconds"])
async def test_cancelling_stops_it_immediately(question: str) -> None:
    slow = DemoOptions(demo_delay_ms=60_000)
    task = asyncio.create_task(batches(question, slow))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_closing_the_generator_stops_it_immediately() -> None:
    stream = DemoProvider(DemoOptions(demo_delay_ms=60_000)).stream(
        request("count to 9")
    )
    await anext(stream)
    await asyncio.wait_for(stream.aclose(), 10)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@pytest.mark.parametrize(
    "question",
    [
        "1" * 100_000,
        "(" * 500,
        "=" * 499 + "a",
        "of(" * 166,
        "1" + " " * 498 + "x",
        "x( " * 166,
        "1 and" + " " * 495,
        "the square root of " * 26,
        "I have 1 apples and give away " * 3000,
        "what time is it in " + " " * 100_000 + "!",
        "what time is it in " + "a, and in " * 19,
        "compound interest on 1 at 1% " * 3000,
        "Explain how " + " " * 100_000,
        "count to " + "9" * 100_000,
        "call a with " + "{" * 100_000 + "}",
        "\0\u2028",
        "",
    ],
)
async def test_no_question_blocks_the_event_loop(question: str) -> None:
    with hang_guard():
        await anext(DemoProvider(NO_DELAY).stream(request(question)))


VOCABULARY = (
    "what is and times plus 2 10,000 % of ( ) + - / square root If I have 20 apples "
    "give away 3/0 them, then buy twice compound interest on $5 at 3% for years time "
    "it in Tokyo count to stream words call {} ? . , @ \0 \u2028 ²"
)
WORDS = st.sampled_from(VOCABULARY.split(" "))


@given(st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=3))
async def test_every_question_gets_an_answer(questions: list[str]) -> None:
    chat = Conversation(NO_DELAY)
    for question in questions:
        assert await chat.ask(question)
