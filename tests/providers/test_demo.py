"""The demo model answers its documented prompts through the agent's real tools."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from streaming.providers.demo.options import DemoOptions
from streaming.tools import Toolbox, tool
from tests.providers.demo_conversation import Conversation
from tests.providers.demo_prompts import APPLES, EXPLAIN, INTEREST, PUZZLE


@pytest.fixture
def chat() -> Conversation:
    return Conversation(DemoOptions(demo_delay_ms=0))


def expressions(chat: Conversation) -> list[list[str]]:
    return [[json.loads(call)["expression"] for call in calls] for calls in chat.calls]


async def test_the_explanation_admits_that_it_is_recorded(chat: Conversation) -> None:
    text = await chat.ask(EXPLAIN)
    assert text.startswith("*This answer is recorded.")
    assert "offline demo model" in text
    for word in ("light", "water", "carbon dioxide", "sugar", "oxygen"):
        assert word in text
    assert chat.calls == []


async def test_the_apples_are_counted_by_the_calculator(chat: Conversation) -> None:
    text = await chat.ask(APPLES)
    assert expressions(chat) == [["20 * 3/4"], ["20 - 15 + 2 * 15"]]
    assert text == (
        "You have **35 apples**.\n\n"
        "1. Given away: `20 * 3/4` = 15\n"
        "2. Left, with those bought: `20 - 15 + 2 * 15` = 35"
    )
    thoughts = [answer.thinking for answer in chat.answers]
    assert [thought[:7] for thought in thoughts] == ["Step 1:", "Step 2:", "Step 3:"]


async def test_the_apples_are_counted_with_other_numbers(chat: Conversation) -> None:
    text = await chat.ask(
        "If I have 12 pears and give away 1/3 of them, then buy 5 times as many as I "
        "gave away, how many pears do I have?"
    )
    assert text.startswith("You have **28 pears**.")


async def test_compound_interest_is_computed_with_the_total(chat: Conversation) -> None:
    text = await chat.ask(INTEREST)
    assert [result.result for result in chat.results] == ["1584.05", "6584.05"]
    assert text.startswith("The compound interest is **$1,584.05**.")
    assert "$6,584.05" in text


@pytest.mark.parametrize(
    ("question", "interest"),
    [
        (
            "Calculate the compound interest on $10,000 at 5% annual rate for 3 years.",
            "$1,576.25",
        ),
        ("compound interest on €2500.50 at 4% for 1 year?", "€100.02"),
    ],
)
async def test_compound_interest_is_computed_for_other_amounts(
    chat: Conversation, question: str, interest: str
) -> None:
    text = await chat.ask(question)
    assert text.startswith(f"The compound interest is **{interest}**.")


async def test_the_puzzles_solution_admits_that_it_is_recorded(
    chat: Conversation,
) -> None:
    text = await chat.ask(PUZZLE)
    assert text.startswith("*This answer is recorded.")
    assert text.endswith("**Ann: green. Bob: blue. Cleo: red.**")


@pytest.mark.parametrize(
    "question",
    [
        "Explain how cars work.",
        PUZZLE.replace("Bob's car is blue", "Bob's car is red"),
        APPLES.replace("how many apples", "how many pears"),
        "compound interest on $100 at 5% for 3 years, compounded monthly",
        "What is 2+2 and why?",
        "What is 7?",
    ],
)
async def test_a_question_without_a_rule_is_not_guessed(
    chat: Conversation, question: str
) -> None:
    text = await chat.ask(question)
    assert text.startswith("I cannot answer “")
    for words in ("offline demo model", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        assert words in text
    assert chat.calls == []


@pytest.mark.parametrize(
    ("question", "expression", "result"),
    [
        ("what is (3+4)*12?", "(3+4)*12", "84"),
        ("2+2", "2+2", "4"),
        ("10,000 * 3 = ?", "10,000 * 3", "30000"),
        ("5!", "5!", "120"),
        ("What's 25 times 4?", "25 * 4", "100"),
        ("Calculate 12 divided by 5.", "12 / 5", "2.4"),
        ("20 minus 5 plus 1", "20 - 5 + 1", "16"),
        ("How much is 20% of 50?", "20% of 50", "10"),
        ("the square root of 1.44", "sqrt(1.44)", "1.2"),
        ("3.5 x 2", "3.5 x 2", "7"),
        ("max(3, 7) + √(4)", "max(3, 7) + √(4)", "9"),
        ("2 * pi", "2 * pi", "6.28318530717959"),
    ],
)
async def test_arithmetic_is_calculated(
    chat: Conversation, question: str, expression: str, result: str
) -> None:
    text = await chat.ask(question)
    assert expressions(chat) == [[expression]]
    assert text == f"`{expression}` = **{result}**"


async def test_two_questions_are_two_calls_in_one_response(chat: Conversation) -> None:
    text = await chat.ask("What is 15% of 240, and what is the square root of 144?")
    assert expressions(chat) == [["15% of 240", "sqrt(144)"]]
    assert text == "`15% of 240` = **36**\n\n`sqrt(144)` = **12**"


async def test_a_tools_error_is_quoted(chat: Conversation) -> None:
    text = await chat.ask("1 / 0 and 1 + 1")
    assert [result.is_error for result in chat.results] == [True, False]
    assert text == (
        "A tool call failed:\n\n- `calculator`: Division by zero.\n- `calculator`: 2"
    )


async def test_an_error_ends_a_plan_of_several_steps(chat: Conversation) -> None:
    text = await chat.ask(APPLES.replace("3/4", "3/0"))
    assert expressions(chat) == [["20 * 3/0"]]
    assert text == "A tool call failed:\n\n- `calculator`: Division by zero."


@pytest.mark.parametrize(
    ("question", "zones"),
    [
        ("What time is it?", [{}]),
        ("What time is it in Tokyo?", [{"timezone": "Tokyo"}]),
        ("what time is it in Europe/Berlin", [{"timezone": "Europe/Berlin"}]),
        (
            "What time is it in Tokyo, Berlin and in New York?",
            [{"timezone": zone} for zone in ("Tokyo", "Berlin", "New York")],
        ),
    ],
)
async def test_the_clock_tells_the_time(
    chat: Conversation, question: str, zones: list[dict[str, str]]
) -> None:
    text = await chat.ask(question)
    assert [[json.loads(call) for call in calls] for calls in chat.calls] == [zones]
    for result in chat.results:
        time = datetime.fromisoformat(result.result.partition(" ")[0])
        assert abs(time - datetime.now(UTC)) < timedelta(minutes=1)
        assert result.result in text


async def test_a_place_without_a_clock_is_named(chat: Conversation) -> None:
    text = await chat.ask("What time is it in Paris and in Atlantis?")
    assert "Europe/Paris" in text
    assert "There is no time zone 'Atlantis'." in text


@pytest.mark.parametrize("question", ["Hi", "hello there", "help", "Who are you?"])
async def test_help_describes_the_model_and_its_rules(
    chat: Conversation, question: str
) -> None:
    text = await chat.ask(question)
    assert "not a language model" in text
    assert "`count to 200`" in text


async def test_each_example_of_the_help_is_answered(chat: Conversation) -> None:
    help_text = await chat.ask("help")
    examples = [part for part in help_text.split("`")[1::2] if " " in part]
    assert len(examples) == 9
    for example in examples:
        if not example.startswith(("wait", "fail")):
            assert "I cannot answer" not in await chat.ask(example), example


async def test_any_tool_can_be_called_by_its_name() -> None:
    @tool
    def shout(text: str) -> str:
        """Say it loudly."""
        return text.upper()

    chat = Conversation(DemoOptions(demo_delay_ms=0), Toolbox([shout]))
    text = await chat.ask('call shout with {"text": "héllo"}')
    assert text == "`shout` answered:\n\nHÉLLO"
    for arguments in ('{"volume": 11}', "{text}"):
        text = await chat.ask(f"call shout with {arguments}")
        assert text.startswith("A tool call failed:\n\n- `shout`: ")


async def test_in_the_last_iteration_it_answers_without_tools(
    chat: Conversation,
) -> None:
    text = await chat.ask("What is 6 * 7?", iterations=1)
    assert text == (
        "This is arithmetic. I call the calculator: 6 * 7. But this run has no "
        "iterations left for tools."
    )
    assert chat.calls == []
    assert chat.answers[-1].end.stop_reason == "tool_use"


async def test_a_plan_without_iterations_left_names_its_next_step(
    chat: Conversation,
) -> None:
    text = await chat.ask(APPLES, iterations=2)
    assert "I call the calculator: 20 - 15 + 2 * 15. But this run" in text


async def test_a_missing_tool_is_reported() -> None:
    chat = Conversation(DemoOptions(demo_delay_ms=0), Toolbox())
    text = await chat.ask("What is 6 * 7?")
    assert text.startswith(
        "A tool call failed:\n\n- `calculator`: There is no such tool"
    )
    assert chat.answers[-1].end.stop_reason == "end_turn"
