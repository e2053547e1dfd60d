"""Summaries of long histories, with a model that reads a number of characters."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.agent.loop import AgentLoop
from streaming.agent.output import OutputType
from streaming.agent.progress import Progress
from streaming.agent.summary import INSTRUCTIONS, MAX_CHARS, MAX_TEXT_CHARS
from streaming.events import Content
from streaming.exceptions import ProviderError
from streaming.messages import (
    Message,
    SummaryPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    split_exchanges,
    user_message,
)
from streaming.providers.base import (
    Delta,
    ExchangesDropped,
    ModelRequest,
    ResponseEnd,
    TextDelta,
)
from streaming.tools import Context, Toolbox


class NarrowModel:
    """A model that leaves out the oldest exchanges beyond a number of characters."""

    name = "narrow"
    model = "test-model"

    def __init__(
        self,
        window: int,
        summary: str | ProviderError = "Summary.",
        answers: Sequence[str] = ("Answer.",),
    ) -> None:
        self.requests: list[ModelRequest] = []
        self._window = window
        self._summary = summary
        self._answers = cycle(answers)

    @property
    def summarized(self) -> list[ModelRequest]:
        """The requests for a summary."""
        return [each for each in self.requests if each.system == INSTRUCTIONS]

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        exchanges = split_exchanges(request.messages)
        kept = exchanges
        while len(kept) > 1 and sum(map(size, kept)) > self._window:
            kept = kept[1:]
        if dropped := len(exchanges) - len(kept):
            yield [ExchangesDropped(dropped)]
        sent = [message for exchange in kept for message in exchange]
        self.requests.append(ModelRequest(request.system, sent, request.tools))
        is_summary = request.system == INSTRUCTIONS
        if is_summary and isinstance(self._summary, ProviderError):
            raise self._summary
        yield []
        yield [TextDelta(str(self._summary) if is_summary else next(self._answers))]
        yield [ResponseEnd("end_turn")]

    async def aclose(self) -> None:
        """Close nothing."""


def size(messages: Sequence[Message]) -> int:
    return sum(len(message.text) for message in messages)


async def answer(
    model: NarrowModel,
    history: Sequence[Message],
    max_run_chars: int = 1_000_000,
    *,
    output: OutputType[Any] | None = None,
    answers: Sequence[str] = ("Answer.",),
) -> Progress:
    """Run an agent, check that clients receive its answers alone."""
    agent = AgentLoop(
        provider=model,
        toolbox=Toolbox(),
        summarize_history=True,
        max_run_chars=max_run_chars,
        output=output,
    )

    async def checkpoint() -> None:
        raise AssertionError("no message before the last")

    progress = Progress()
    events = [
        event
        async for batch in agent.run(
            history,
            Context(),
            max_iterations=3,
            progress=progress,
            checkpoint=checkpoint,
        )
        for event in batch
    ]
    assert [e.content for e in events if isinstance(e, Content)] == [*answers]
    assert len(events) == len(answers)
    return progress


def summaries(messages: Sequence[Message]) -> list[SummaryPart]:
    return [p for m in messages for p in m.parts if isinstance(p, SummaryPart)]


def questions(count: int, length: int = 1_600) -> list[Message]:
    """Exchanges that begin with their numbers."""
    return [
        message
        for number in range(count)
        for message in (
            user_message(f"{number} " + "long " * (length // 5)),
            Message("assistant", [TextPart("Fine.")]),
        )
    ]


async def test_exchanges_that_do_not_fit_are_replaced_by_a_summary() -> None:
    model = NarrowModel(12_000)
    progress = await answer(model, [*questions(9), user_message("9 now")])
    [summary] = summaries(progress.messages)
    asked, sent = model.requests
    assert asked.system == INSTRUCTIONS
    assert not asked.tools
    assert (summary.text, summary.exchanges) == ("Summary.", progress.dropped_exchanges)
    assert summary.exchanges + summary.kept == 10
    first, *others = split_exchanges(sent.messages)
    assert "Summary." in first[0].text
    assert f" {summary.exchanges} exchanges" in first[0].text
    assert [int(e[0].text.split()[0]) for e in others] == list(
        range(summary.exchanges, 10)
    )
    assert (progress.llm_calls, progress.output) == (2, "Answer.")


async def test_a_summary_is_used_again_and_extended() -> None:
    model = NarrowModel(12_000)
    history = [*questions(9), user_message("9 now")]
    history += (await answer(model, history)).messages
    [first] = summaries(history)
    history += [user_message("10 soon")]
    history += (await answer(model, history)).messages
    assert summaries(history) == [first]
    assert len(model.summarized) == 1
    history += [*questions(5), user_message("16 then")]
    progress = await answer(model, history)
    [extended] = summaries(progress.messages)
    assert extended.exchanges + extended.kept == 17
    assert extended.exchanges == first.exchanges + progress.dropped_exchanges
    [_, last] = model.summarized
    assert "<summary>\nSummary.\n</summary>" in last.messages[-1].text


async def test_a_history_that_fits_is_sent_as_it_is() -> None:
    model = NarrowModel(100_000)
    history = [*questions(9), user_message("9 now")]
    progress = await answer(model, history)
    assert model.requests == [ModelRequest("", history)]
    assert len(progress.messages) == 1


@pytest.mark.parametrize(
    "summary", [ProviderError("No."), "x" * (MAX_CHARS + 1), "x" * 60_000, " \n"]
)
async def test_a_failed_summary_leaves_the_exchanges_out(
    summary: str | ProviderError, caplog: pytest.LogCaptureFixture
) -> None:
    model = NarrowModel(12_000, summary)
    progress = await answer(model, [*questions(9), user_message("9 now")])
    assert progress.dropped_exchanges
    assert not summaries(progress.messages)
    sent = split_exchanges(model.requests[-1].messages)
    assert len(sent) + progress.dropped_exchanges == 10
    assert progress.output == "Answer."
    assert "history not summarized" in caplog.text


async def test_the_newest_question_is_sent_without_a_summary_that_has_no_room() -> None:
    model = NarrowModel(5_000)
    question = user_message("x" * 10_000)
    progress = await answer(model, [*questions(9), question])
    assert model.requests[-1].messages == [question]
    [summary] = summaries(progress.messages)
    assert (summary.exchanges, summary.kept) == (9, 1)
    model.requests.clear()
    short = user_message("And?")
    await answer(model, [*questions(9), question, *progress.messages, short])
    sent = split_exchanges(model.requests[-1].messages)
    assert "Summary." in sent[0][0].text
    assert list(sent[-1]) == [short]


async def test_a_summary_for_the_correction_of_an_answer_leaves_the_correct_one() -> (
    None
):
    history = [*questions(9), user_message("9 now")]
    answers = "None.", '{"value": 3}'
    model = NarrowModel(size(history), answers=answers)
    progress = await answer(model, history, output=OutputType(int), answers=answers)
    assert len(model.summarized) == 1
    assert [m.text for m in progress.messages if not m.is_summary] == [answers[1]]
    assert len(summaries(progress.messages)) == 1
    assert progress.structured_output == b"3"


async def test_a_summary_counts_towards_the_length_of_its_run() -> None:
    model = NarrowModel(12_000, "x" * 1_000)
    history = [*questions(9), user_message("9 now")]
    progress = await answer(model, history, max_run_chars=500)
    assert not summaries(progress.messages)
    assert progress.added_chars >= 500


async def test_the_model_summarizes_texts_calls_and_results_but_no_whole_file() -> None:
    exchange = [
        user_message("How many?"),
        Message("assistant", [ToolCallPart("c", "count", '{"of": "files"}')]),
        Message("tool", [ToolResultPart("c", "count", "7" + "y" * 9_000)]),
        Message("assistant", [TextPart("Seven.")]),
    ]
    model = NarrowModel(8_000)
    question = user_message("z" * 8_000)
    await answer(model, [*exchange, question])
    text = model.summarized[0].messages[0].text
    for part in ("user: How many?", 'count {"of": "files"}', "result: 7", "Seven."):
        assert part in text
    assert text.count("y") == MAX_TEXT_CHARS


async def test_exchanges_that_no_request_can_hold_are_not_summarized() -> None:
    model = NarrowModel(100)
    question = user_message("z")
    progress = await answer(model, [*questions(1, 500), question])
    assert not model.summarized
    assert not summaries(progress.messages)
    assert progress.llm_calls == 1
    assert model.requests[-1].messages == [question]


@given(
    window=st.integers(1, 20_000),
    length=st.integers(0, 1_000),
    lengths=st.lists(st.integers(1, 9_000), min_size=1, max_size=12),
)
def test_each_exchange_is_sent_summarized_or_left_out_for_its_size(
    window: int, length: int, lengths: list[int]
) -> None:
    model = NarrowModel(window, "s" * length)
    history: list[Message] = []
    for number, chars in enumerate(lengths, 1):
        history.append(user_message("q" * chars))
        before = len(model.summarized)
        history += asyncio.run(answer(model, history)).messages
        assert len(model.summarized) - before <= 1
        sent = split_exchanges(model.requests[-1].messages)
        assert len(sent) == 1 or sum(map(size, sent)) <= window
        if found := summaries(split_exchanges(history)[-1]):
            assert found[0].exchanges + found[0].kept == number
