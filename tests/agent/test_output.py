"""Structured output: types, the JSON in a model's text, and the loop's one retry."""

import asyncio
import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

from streaming.agent import output as output_module
from streaming.agent.loop import AgentLoop
from streaming.agent.output import MAX_CHARS, NAME, OutputType
from streaming.agent.progress import Progress
from streaming.events import Content, Event, ToolCallEvent
from streaming.exceptions import InvalidOutput, ProviderError
from streaming.messages import Message, TextPart, ToolCallPart, user_message
from streaming.providers.base import ResponseEnd, TextDelta
from streaming.tools import Context, Toolbox, tool
from tests.agent.test_loop import (
    QUESTION,
    Response,
    ScriptedProvider,
    calls,
    echo,
    says,
)


class Triage(BaseModel):
    """A sorted question."""

    urgent: bool
    topic: Literal["order", "invoice", "other"]


class Node(BaseModel):
    name: str
    children: list["Node"] = []


@dataclass
class Point:
    x: int
    y: int = 0


class Movie(TypedDict):
    name: str
    year: int


class Colour(Enum):
    RED = "red"


class Prices(BaseModel):
    total: Decimal
    day: date
    ratio: float = 0.5


GOOD = '{"urgent": true, "topic": "order"}'
VALUE = Triage(urgent=True, topic="order")


# Types


@pytest.mark.parametrize(
    ("kind", "text", "value", "encoded"),
    [
        (Triage, GOOD, VALUE, json.loads(GOOD)),
        (Point, '{"x": 1}', Point(1), {"x": 1, "y": 0}),
        (
            Movie,
            '{"name": "M", "year": 1931}',
            {"name": "M", "year": 1931},
            {"name": "M", "year": 1931},
        ),
        (Literal["a", "b"], '{"value": "a"}', "a", "a"),
        (Literal["a", "b"], '"a"', "a", "a"),
        (Colour, '{"value": "red"}', Colour.RED, "red"),
        (list[Point], '{"value": [{"x": 1}]}', [Point(1)], [{"x": 1, "y": 0}]),
        (list[int], "[1, 2]", [1, 2], [1, 2]),
        (Triage | Point, f'{{"value": {GOOD}}}', VALUE, json.loads(GOOD)),
        (int | None, '{"value": null}', None, None),
        (dict[str, int], '{"a": 1}', {"a": 1}, {"a": 1}),
        (
            Node,
            '{"name": "a", "children": [{"name": "b"}]}',
            Node(name="a", children=[Node(name="b")]),
            {"name": "a", "children": [{"name": "b", "children": []}]},
        ),
        (
            Prices,
            '{"total": "1.10", "day": "2026-11-27"}',
            Prices(total=Decimal("1.10"), day=date(2026, 11, 27)),
            {"total": "1.10", "day": "2026-11-27", "ratio": 0.5},
        ),
        (Annotated[int, Field(ge=1)], '{"value": 3}', 3, 3),
    ],
    ids=str,
)
def test_any_type_of_pydantic_is_an_output_type(
    kind: Any,  # noqa: ANN401
    text: str,
    value: object,
    encoded: object,
) -> None:
    output: OutputType[Any] = OutputType(kind)
    assert output.schema["type"] == "object"
    assert output.validate(text) == value
    assert json.loads(output.encode(text)) == encoded
    assert output.spec.name == NAME


@pytest.mark.parametrize("kind", [object(), type("Plain", (), {}), 3])
def test_another_type_is_rejected(kind: object) -> None:
    with pytest.raises(TypeError, match="cannot be described"):
        OutputType(kind)


def test_a_callable_cannot_be_described() -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        lock: asyncio.Lock

    with pytest.raises(TypeError, match="cannot be described"):
        OutputType(Odd)


# Texts of models


@pytest.mark.parametrize(
    "text",
    [
        f"  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\n",
        f"Here it is:\n```json\n{GOOD}\n```\nAnything else?",
        f"I think that {{this}} is it: {GOOD}. [1] See above.",
        f"{GOOD} And {{more}}",
        f"{GOOD}{GOOD}",
        '{"urgent": true, "topic": "other", "topic": "order"}',
        '{"urgent": "true", "topic": "order"}',
        '{"urgent": true, "topic": "order", "unknown": [1e999]}'.replace("e999", ""),
        f"\ufeff{GOOD}",
    ],
)
def test_the_json_in_a_text_is_found(text: str) -> None:
    output: OutputType[Triage] = OutputType(Triage)
    assert output.validate(text) == VALUE
    assert json.loads(output.encode(text)) == json.loads(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "I cannot answer.",
        "{",
        '{"urgent": true, "topic": "ord',
        '{"urgent": true}',
        '{"urgent": null, "topic": "order"}',
        '{"urgent": true, "topic": "weather"}',
        "[]",
        "null",
        "NaN",
        "```json\n```",
        "[" * 90_000,
        "{" * MAX_CHARS,
        '{"a":' * 16_000 + "1" + "}" * 16_000,
        '{"' + '\\"' * 49_000,
        '"' * 90_000,
        GOOD.replace("order", "\\ud800"),
        GOOD.replace("order", "\ud800"),
        GOOD.replace("order", "\\u0000"),
        GOOD.replace("order", "\0"),
        "x" * (MAX_CHARS + 1),
        "(" * 9_000 + '{"a": [' * 9_000,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_another_text_is_invalid(text: str) -> None:
    with pytest.raises(InvalidOutput) as failure:
        OutputType(Triage).encode(text)
    assert failure.value.message.isprintable()
    assert len(failure.value.message) < 2_000


def test_a_text_of_brackets_is_searched_in_few_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = list(output_module._candidates("{} " * 10_000))
    assert len(found) <= output_module.MAX_CANDIDATES + 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_json_has_not_are_invalid(number: str) -> None:
    with pytest.raises(InvalidOutput):
        OutputType(Prices).encode(
            f'{{"total": 1, "day": "2026-11-27", "ratio": {number}}}'
        )
    with pytest.raises(InvalidOutput):
        OutputType(Any).encode(f'{{"value": [{number}]}}')


def test_numbers_that_a_validator_makes_are_json_too() -> None:
    class Ratio(BaseModel):
        model_config = ConfigDict(ser_json_inf_nan="constants")
        value: float

        @field_validator("value")
        @classmethod
        def grow(cls, value: float) -> float:
            return value / 0.0 if value else math.inf

    with pytest.raises(InvalidOutput):
        OutputType(Ratio).encode('{"value": 0}')


@pytest.mark.parametrize("digits", [18, 19, 20, 1_000, 4_000])
def test_a_huge_integer_keeps_its_digits(digits: int) -> None:
    number = "9" * digits
    assert OutputType(int).encode(f'{{"value": {number}}}').decode() == number


def test_an_integer_that_python_does_not_read_is_invalid() -> None:
    with pytest.raises(InvalidOutput):
        OutputType(int).encode(f'{{"value": {"9" * 90_000}}}')


def test_unknown_fields_are_dropped_or_refused_as_the_type_says() -> None:
    class Strict(Triage):
        model_config = ConfigDict(extra="forbid")

    text = GOOD.replace("}", ', "more": 1}')
    assert json.loads(OutputType(Triage).encode(text)) == json.loads(GOOD)
    with pytest.raises(InvalidOutput, match="more: Extra inputs"):
        OutputType(Strict).validate(text)


def test_the_sentence_names_few_problems_and_no_values() -> None:
    text = json.dumps({"value": ["secret"] * 9})
    with pytest.raises(InvalidOutput) as failure:
        OutputType(list[int]).validate(text)
    message = failure.value.message
    assert "0: Input should be a valid integer" in message
    assert "4: " in message
    assert "5: " not in message
    assert "secret" not in message


def test_many_problems_are_counted() -> None:
    text = json.dumps({"value": [""] * 20_000})
    with pytest.raises(InvalidOutput, match="20,000 problems"):
        OutputType(list[int]).validate(text)


def test_a_key_that_cannot_be_stored_is_replaced_in_the_sentence() -> None:
    with pytest.raises(InvalidOutput, match="\ufffd: Input"):
        OutputType(dict[str, int]).validate('{"\\u0000": "x"}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values, st.text(), st.text())
def test_any_text_is_valid_or_invalid(value: object, before: str, after: str) -> None:
    text = f"{before}{json.dumps(value)}{after}"
    for kind in (Triage, list[int], Any):
        output: OutputType[Any] = OutputType(kind)
        try:
            encoded = output.encode(text)
        except InvalidOutput:
            continue
        json.loads(encoded, parse_constant=pytest.fail)


# The loop


class Scene:
    """A run of an agent with an output type and a scripted model."""

    def __init__(
        self,
        *responses: Response,
        kind: Any = Triage,  # noqa: ANN401
        max_iterations: int = 5,
        tool_timeout: float = 30.0,
    ) -> None:
        self.trace: list[str] = []
        self.provider = ScriptedProvider(self.trace, responses)
        self.progress = Progress()
        self.events: list[Event] = []
        self._max_iterations = max_iterations
        self._agent = AgentLoop(
            provider=self.provider,
            toolbox=Toolbox([echo]),
            tool_timeout=tool_timeout,
            output=OutputType(kind),
        )

    async def run(self) -> "Scene":
        batches = self._agent.run(
            [QUESTION],
            Context(),
            max_iterations=self._max_iterations,
            progress=self.progress,
            checkpoint=self._checkpoint,
        )
        async for events in batches:
            self.events += events
        return self

    async def failed(self) -> InvalidOutput:
        with pytest.raises(InvalidOutput) as failure:
            await self.run()
        return failure.value

    async def _checkpoint(self) -> None:
        self.trace.append("checkpoint")

    @property
    def content(self) -> list[str]:
        return [e.content for e in self.events if isinstance(e, Content)]

    @property
    def saved(self) -> list[str]:
        return [message.text for message in self.progress.messages]


def gives(*arguments: str, name: str = NAME) -> Response:
    """A response whose answer is a call of the tool for it."""
    return calls(*[ToolCallPart(str(n), name, a) for n, a in enumerate(arguments)])


async def test_an_answer_of_the_right_form_is_the_output() -> None:
    scene = await Scene([[TextDelta(GOOD[:9])], *says(GOOD[9:])]).run()
    assert scene.content == [GOOD[:9], GOOD[9:]]
    assert scene.saved == [GOOD]
    assert json.loads(scene.progress.structured_output) == json.loads(GOOD)
    assert scene.progress.stop_reason == "end_turn"
    [request] = scene.provider.requests
    assert request.output == OutputType(Triage).spec
    assert [spec.name for spec in request.tools] == ["echo"]


async def test_the_call_of_the_final_tool_is_the_answer_as_text() -> None:
    scene = await Scene(gives(GOOD)).run()
    assert scene.content == [GOOD]
    assert not any(isinstance(event, ToolCallEvent) for event in scene.events)
    assert scene.progress.messages == [Message("assistant", [TextPart(GOOD)])]
    assert json.loads(scene.progress.structured_output) == json.loads(GOOD)
    assert scene.progress.stop_reason == "end_turn"
    assert scene.progress.tool_calls == 0


@pytest.mark.parametrize("name", [NAME, "functions.final_output", "final-output"])
async def test_the_final_tool_is_known_by_decorated_names(name: str) -> None:
    assert (await Scene(gives(GOOD, name=name)).run()).content == [GOOD]


async def test_other_calls_beside_the_answer_are_not_made() -> None:
    both = calls(
        ToolCallPart("1", "echo", '{"text": "hi"}'),
        ToolCallPart("2", NAME, GOOD),
        ToolCallPart("3", NAME, "{}"),
    )
    scene = await Scene(both).run()
    assert scene.progress.tool_calls == 0
    assert scene.progress.messages == [Message("assistant", [TextPart(GOOD)])]


async def test_tools_are_called_before_the_answer() -> None:
    called = calls(ToolCallPart("1", "echo", '{"text": "hi"}'))
    scene = await Scene(called, says(GOOD)).run()
    assert scene.progress.tool_calls == 1
    assert scene.saved == ["", "", GOOD]
    assert json.loads(scene.progress.structured_output) == json.loads(GOOD)


@pytest.mark.parametrize("max_iterations", [1, 5])
@pytest.mark.parametrize("answer", [says, gives])
async def test_an_invalid_answer_is_requested_once_more(
    answer: Any,  # noqa: ANN401
    max_iterations: int,
) -> None:
    bad = '{"urgent": true, "topic": "weather"}'
    scene = Scene(answer(bad), answer(GOOD), max_iterations=max_iterations)
    await scene.run()
    first, second = scene.provider.requests
    assert second.allow_tools is False
    assert second.output == first.output
    *_, rejected, correction = second.messages
    assert rejected == Message("assistant", [TextPart(bad)])
    assert correction.role == "user"
    assert "topic: Input should be 'order', 'invoice' or 'other'" in correction.text
    assert '"enum":["order","invoice","other"]' in correction.text
    # Readers have seen both texts; the conversation has the valid one.
    assert scene.content == [bad, GOOD]
    assert scene.saved == [GOOD]
    assert scene.progress.llm_calls == 2
    assert json.loads(scene.progress.structured_output) == json.loads(GOOD)
    assert scene.progress.stop_reason == "end_turn"


@pytest.mark.parametrize("answer", [says, gives])
async def test_a_second_invalid_answer_fails_and_is_kept(answer: Any) -> None:  # noqa: ANN401
    scene = Scene(answer("{}"), answer('{"urgent": 1}'))
    error = await scene.failed()
    assert error.code == "invalid_output"
    assert error.retryable
    assert "topic: Field required" in error.message
    assert scene.saved == ['{"urgent": 1}']
    assert scene.progress.structured_output == b""
    assert scene.progress.llm_calls == 2


async def test_the_rejected_answer_is_kept_if_the_second_call_fails() -> None:
    scene = Scene(says("Well."), [ProviderError("broken")])
    with pytest.raises(ProviderError, match="broken"):
        await scene.run()
    assert scene.saved == ["Well."]


async def test_an_empty_answer_after_tools_is_requested_once_more() -> None:
    called: Response = [
        [TextDelta("Let me see."), ToolCallPart("1", "echo", '{"text": "hi"}')],
        [ResponseEnd("tool_use")],
    ]
    scene = await Scene(called, [[ResponseEnd("end_turn")]], says(GOOD)).run()
    assert scene.saved == ["Let me see.", "", GOOD]
    assert [m.role for m in scene.progress.messages] == [
        "assistant",
        "tool",
        "assistant",
    ]


async def test_an_empty_answer_is_an_error_of_the_provider() -> None:
    with pytest.raises(ProviderError, match="no answer"):
        await Scene([[ResponseEnd("end_turn")]]).run()


async def test_a_refusal_has_no_form() -> None:
    scene = await Scene(says("I cannot help with that.", "refusal")).run()
    assert scene.progress.stop_reason == "refusal"
    assert scene.saved == ["I cannot help with that."]
    assert scene.progress.structured_output == b""


async def test_an_answer_that_was_cut_off_is_not_requested_again() -> None:
    scene = Scene(says(GOOD[:-5], "max_tokens"))
    error = await scene.failed()
    assert "LLM_MAX_TOKENS" in error.message
    assert not error.retryable
    assert scene.saved == [GOOD[:-5]]


async def test_a_whole_answer_before_the_cut_is_the_output() -> None:
    scene = await Scene(says(f"{GOOD} And fur", "max_tokens")).run()
    assert scene.progress.stop_reason == "max_tokens"
    assert json.loads(scene.progress.structured_output) == json.loads(GOOD)


async def test_a_call_of_a_tool_in_the_last_iteration_is_no_answer() -> None:
    called = calls(ToolCallPart("1", "echo", '{"text": "hi"}'))
    scene = await Scene(called, says(GOOD), max_iterations=1).run()
    assert scene.progress.tool_calls == 0
    assert json.loads(scene.progress.structured_output) == json.loads(GOOD)


async def test_the_final_tool_ends_the_last_iteration_regularly() -> None:
    scene = await Scene(gives(GOOD), max_iterations=1).run()
    assert scene.progress.stop_reason == "end_turn"


def test_no_tool_has_the_name_of_the_final_one() -> None:
    @tool(name=NAME)
    def final() -> str:
        """Return nothing."""
        return ""

    with pytest.raises(ValueError, match=NAME):
        AgentLoop(
            provider=ScriptedProvider([], []),
            toolbox=Toolbox([final]),
            output=OutputType(Triage),
        )


async def test_the_event_loop_continues_while_an_answer_is_validated() -> None:
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Triage):
        @field_validator("urgent")
        @classmethod
        def wait(cls, value: bool) -> bool:
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10)
            return value

    run = asyncio.create_task(Scene(says(GOOD), kind=Slow).run())
    await asyncio.sleep(0.05)
    assert not run.done()
    released.set()
    assert (await asyncio.wait_for(run, 10)).progress.structured_output


async def test_a_validator_that_hangs_is_left() -> None:
    released = threading.Event()

    class Stuck(Triage):
        @field_validator("urgent")
        @classmethod
        def wait(cls, value: bool) -> bool:
            released.wait(10)
            return value

    scene = Scene(says(GOOD), says(GOOD), kind=Stuck, tool_timeout=0.05)
    assert "not validated in time" in (await scene.failed()).message
    released.set()
    while output_module._threads.abandoned:  # noqa: ASYNC110  (threads end)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("error", [TypeError("private"), SystemExit(3), RecursionError])
async def test_a_validator_that_fails_makes_an_answer_invalid(
    error: BaseException | type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Triage):
        @field_validator("urgent")
        @classmethod
        def fail(cls, value: bool) -> bool:
            raise error

    failure = await Scene(says(GOOD), says(GOOD), kind=Broken).failed()
    assert "validation of the answer failed" in failure.message
    assert "private" not in failure.message
    assert "validator of an output type failed" in caplog.text


def questions(messages: Sequence[Message]) -> list[str]:
    return [m.text for m in messages if m.role == "user"]


async def test_the_next_run_of_a_conversation_has_no_correction() -> None:
    scene = await Scene(says("{}"), says(GOOD)).run()
    assert questions(scene.progress.messages) == []
    assert questions(scene.provider.requests[0].messages) == [
        user_message("What time is it?").text
    ]
