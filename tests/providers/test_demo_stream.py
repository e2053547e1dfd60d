"""How the demo model streams: as the other providers do, and on command in odd ways."""

import asyncio
import time

import pytest
from hypothesis import given, settings
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
from tests.providers.demo_conversation import TOOLBOX, Answer, Conversation, sort

NO_DELAY = DemoOptions(demo_delay_ms=0)


def request(question: str) -> ModelRequest:
    return ModelRequest("", [user_message(question)], TOOLBOX.specs)


async def batches(question: str, options: DemoOptions) -> list[list[Delta]]:
    stream = DemoProvider(options).stream(request(question))
    return [batch async for batch in stream]


async def answer(question: str, options: DemoOptions = NO_DELAY) -> Answer:
    return sort([d for batch in await batches(question, options) for d in batch])


def test_it_is_made_by_its_name_and_told_by_its_model() -> None:
    provider = make_provider(DemoOptions(llm_provider="demo"))
    assert (provider.name, provider.model) == ("demo", "demo-1")
    assert DemoProvider(DemoOptions(llm_model="demo-2")).model == "demo-2"


async def test_text_comes_word_by_word_and_is_whole() -> None:
    said = await batches("count to 20", DemoOptions(demo_delay_ms=0.1))
    words = [d.text for batch in said for d in batch if isinstance(d, TextDelta)]
    assert words == ["1", *(f" {number}" for number in range(2, 21))]
    assert max(map(len, said[:-1])) == 1


async def test_the_pause_between_words_is_the_one_that_was_set() -> None:
    started = time.perf_counter()
    await batches("count to 10", DemoOptions(demo_delay_ms=10, llm_thinking="off"))
    assert 0.1 <= time.perf_counter() - started < 1


async def test_without_a_pause_the_event_loop_still_gets_its_turns() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count_turns())
    said = await batches("stream 2000 words", NO_DELAY)
    counter.cancel()
    assert turns >= len(said) - 2 > 100


@pytest.mark.parametrize(
    ("question", "words"),
    [("count to 500", 500), ("stream 2,000 words", 2000), ("say 5 words", 5)],
)
async def test_a_long_stream_is_as_long_as_was_asked(question: str, words: int) -> None:
    assert len((await answer(question)).text.split()) == words


async def test_a_long_thought_is_as_long_as_was_asked() -> None:
    assert len((await answer("think for 300 words")).thinking.split()) == 300


async def test_thinking_can_be_turned_off() -> None:
    quiet = DemoOptions(demo_delay_ms=0, llm_thinking="off")
    assert (await answer("think for 300 words", quiet)).thinking == ""


async def test_usage_counts_four_letters_as_a_token() -> None:
    first, *_ = await batches("count to 500", NO_DELAY)
    told = await answer("count to 500")
    letters = len(told.text) + len(told.thinking)
    assert first == [TokenUsage(input_tokens=told.usage.input_tokens)]
    assert told.usage.input_tokens > 100
    assert told.usage.output_tokens == -(-letters // 4)
    assert told.usage.reasoning_tokens == -(-len(told.thinking) // 4)


async def test_the_limit_of_tokens_cuts_the_answer() -> None:
    short = DemoOptions(demo_delay_ms=0, llm_max_tokens=50, llm_thinking="off")
    told = await answer("count to 500", short)
    assert told.end == ResponseEnd("max_tokens")
    assert 190 < len(told.text) <= 200
    assert told.usage.output_tokens <= 50


async def test_a_call_that_the_limit_of_tokens_cuts_off_never_comes() -> None:
    told = await answer("6 * 7", DemoOptions(demo_delay_ms=0, llm_max_tokens=5))
    assert told.end == ResponseEnd("max_tokens")
    assert told.calls == []


async def test_ids_of_calls_are_never_used_twice() -> None:
    calls = [call.id for _ in range(50) for call in (await answer("1+1, 2+2")).calls]
    assert len(calls) == len(set(calls)) > 0


async def test_a_refusal_is_told_as_one() -> None:
    assert (await answer("refuse")).end == ResponseEnd("refusal")


async def test_markdown_is_shown_as_it_was_written() -> None:
    assert (await answer("show markdown")).text == MARKDOWN


async def test_a_failure_comes_after_the_words_that_were_asked_for() -> None:
    said: list[Delta] = []
    with pytest.raises(ProviderError, match="as it was asked to"):
        async for batch in DemoProvider(NO_DELAY).stream(request("fail after 7 words")):
            said += batch
    assert sum(isinstance(delta, TextDelta) for delta in said) == 7


async def test_a_silence_is_as_long_as_was_asked() -> None:
    started = time.perf_counter()
    assert (await answer("wait 1 second")).text.startswith("I have been silent for 1")
    assert 1 <= time.perf_counter() - started < 2


@pytest.mark.parametrize("question", ["count to 500", "wait 300 seconds"])
async def test_cancelling_stops_it_at_once(question: str) -> None:
    slow = DemoOptions(demo_delay_ms=60000)
    task = asyncio.create_task(batches(question, slow))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)


async def test_closing_the_generator_stops_it_at_once() -> None:
    stream = DemoProvider(DemoOptions(demo_delay_ms=60000)).stream(
        request("count to 9")
    )
    await anext(stream)
    await asyncio.wait_for(stream.aclose(), 1)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@pytest.mark.parametrize(
    "question",
    [
        "1" * 1000,
        "(" * 1000,
        "=" * 999 + "a",
        "1" + " " * 998 + "x",
        "sum of (1 and " * 70,
        "how many " * 100,
        "how many do I have if I have 1 " * 30,
        "what time is it " + "in . " * 190,
        "twenty-" * 140,
        "compound on 1 at 1% " * 50,
        "count to " + "9" * 990,
        "call a with " + "{" * 980 + "}",
        "\0\u2028",
        "",
    ],
)
async def test_no_question_takes_the_event_loop_for_long(question: str) -> None:
    started = time.perf_counter()
    await anext(DemoProvider(NO_DELAY).stream(request(question)))
    assert time.perf_counter() - started < 0.3


VOCABULARY = (
    "what is and then times plus 2 10,000 % of ( ) + - it that square root sum half "
    "I have apples give away buy how many compound interest $5 at 3% for years time "
    "in Tokyo my name Ada count to stream words ? . , @ \0 \u2028 ²"
)
WORDS = st.sampled_from(VOCABULARY.split(" "))


@settings(deadline=None)
@given(st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=3))
async def test_whatever_is_said_gets_an_answer(questions: list[str]) -> None:
    chat = Conversation(NO_DELAY)
    for question in questions:
        assert await chat.ask(question)
