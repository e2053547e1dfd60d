"""What the demo model answers, through the tools that are really there."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from streaming.providers.demo.options import DemoOptions
from streaming.tools import Toolbox, tool
from tests.providers.demo_conversation import Conversation


@pytest.fixture
def chat() -> Conversation:
    return Conversation(DemoOptions(demo_delay_ms=0))


def expressions(chat: Conversation) -> list[list[str]]:
    return [[json.loads(call)["expression"] for call in calls] for calls in chat.calls]


async def test_what_needs_knowledge_gets_an_honest_answer(chat: Conversation) -> None:
    text = await chat.ask("Explain the process of photosynthesis in simple terms.")
    assert "offline demo model" in text
    assert "not a language model" in text
    assert "ANTHROPIC_API_KEY" in text
    assert "OPENAI_API_KEY" in text
    assert chat.calls == []


async def test_the_apples_are_counted_by_the_calculator(chat: Conversation) -> None:
    text = await chat.ask(
        "If I have 5 apples and give away 2, then buy 3 more, how many do I have?"
    )
    assert expressions(chat) == [["5 - 2 + 3"]]
    assert text == "You have **6 apples**: `5 - 2 + 3` = 6."


async def test_compound_interest_is_computed_with_the_whole_amount(
    chat: Conversation,
) -> None:
    text = await chat.ask(
        "Calculate the compound interest on $10,000 at 5% annual rate for 3 years."
    )
    assert [result.result for result in chat.results] == ["11576.25", "1576.25"]
    assert "**$1,576.25**" in text
    assert "$11,576.25" in text


async def test_two_questions_are_two_calls_in_one_turn(chat: Conversation) -> None:
    text = await chat.ask("What is 15% of 240, and what is the square root of 144?")
    assert expressions(chat) == [["15% of 240", "sqrt(144)"]]
    assert text == "- `15% of 240` = **36**\n- `sqrt(144)` = **12**"


@pytest.mark.parametrize(
    ("question", "expression", "result"),
    [
        ("what is (3+4)*12?", "(3+4)*12", "84"),
        ("2+2", "2+2", "4"),
        ("10,000 * 3 = ?", "10000 * 3", "30000"),
        ("Hello! What is 5!", "5!", "120"),
        ("what's twenty-five times four", "25 * 4", "100"),
        ("Divide 12 by 5", "12 / 5", "2.4"),
        ("subtract 5 from 20, please", "20 - 5", "15"),
        ("Add 3 to 4.", "4 + 3", "7"),
        ("What is the sum of 3 and 4?", "(3 + 4)", "7"),
        ("the product of 6 and 7, minus 2", "(6 * 7) - 2", "40"),
        ("the product of 2, 3 and 4", "(2 * 3 * 4)", "24"),
        ("the average of 1, 2, and 6", "((1 + 2 + 6) / 3)", "3"),
        ("the difference between 9 and 4", "(9 - 4)", "5"),
        ("How much is 5% of $1,200.50?", "5% of 1200.50", "60.025"),
        ("20 percent of 50", "20% of 50", "10"),
        ("2 to the power of 10", "2 ** 10", "1024"),
        ("the square root of 2 squared", "sqrt(2) ** 2", "2"),
        ("half of 50", "50 / 2", "25"),
        ("3.5 x 2", "3.5 x 2", "7"),
        ("17 mod 5", "17 % 5", "2"),
        ("max(3, 7) + 1", "max(3, 7) + 1", "8"),
        ("what is pi", "pi", "3.14159265358979"),
    ],
)
async def test_arithmetic_is_read_in_signs_and_in_words(
    chat: Conversation, question: str, expression: str, result: str
) -> None:
    text = await chat.ask(question)
    assert expressions(chat) == [[expression]]
    assert text == f"`{expression}` = **{result}**"


async def test_what_builds_on_a_result_is_another_iteration(
    chat: Conversation,
) -> None:
    text = await chat.ask("What is 10 + 2 and 3 * 3, then divide it by 3 and add 4?")
    assert expressions(chat) == [["10 + 2", "3 * 3"], ["9 / 3"], ["3 + 4"]]
    assert text.endswith("- `3 + 4` = **7**")


async def test_a_follow_up_goes_on_from_the_result_before(chat: Conversation) -> None:
    await chat.ask("6 * 7")
    assert await chat.ask("and times 2?") == "`42 * 2` = **84**"
    assert await chat.ask("Divide that by 0") == (
        "`84 / 0` has no result. The calculator says: Division by zero."
    )
    assert await chat.ask("minus 100") == "`84 - 100` = **-16**"
    assert await chat.ask("double it") == "`(-16) * 2` = **-32**"


async def test_a_follow_up_loses_nothing_to_rounding(chat: Conversation) -> None:
    await chat.ask("10/3")
    assert await chat.ask("times 3") == "`(10/3) * 3` = **10**"


async def test_a_follow_up_of_nothing_is_told_so(chat: Conversation) -> None:
    assert "not calculated anything" in await chat.ask("and times 2?")
    assert chat.calls == []


async def test_a_tools_error_is_quoted(chat: Conversation) -> None:
    text = await chat.ask("divide 1 by 0")
    assert [result.is_error for result in chat.results] == [True]
    assert text == "`1 / 0` has no result. The calculator says: Division by zero."


async def test_the_part_of_a_question_that_no_rule_knows_is_not_passed_over(
    chat: Conversation,
) -> None:
    text = await chat.ask("What is 2+2 and who is the president?")
    assert text == "- `2+2` = **4**\n- The rest of what you wrote is beyond my rules."


@pytest.mark.parametrize(
    ("question", "expression", "answer"),
    [
        (
            "Tom had twenty marbles. He lost 7 and found two. How many does he have?",
            "20 - 7 + 2",
            "That makes **15 marbles**",
        ),
        (
            "How many do I have if I had 5 eggs and ate 4?",
            "5 - 4",
            "You have **1 egg**",
        ),
        (
            "I have $100 and spend $35.50. How much is left?",
            "100 - 35.50",
            "You have **64.5**",
        ),
        (
            "I have 3 pens, get rid of 1, and Ben gives me 10. How many are there?",
            "3 - 1 + 10",
            "You have **12 pens**",
        ),
    ],
)
async def test_problems_of_getting_and_giving_are_followed(
    chat: Conversation, question: str, expression: str, answer: str
) -> None:
    text = await chat.ask(question)
    assert expressions(chat) == [[expression]]
    assert text.startswith(answer)


@pytest.mark.parametrize(
    "question",
    [
        "I have 5 apples and 3 oranges and eat 2. How many apples do I have?",
        "I have 12 apples and give 3 to each friend. How many do I have?",
        "Tom has 3 pens and Ann has 4. How many does Ann have?",
        "Tom has 5 pens and gives 2 to Ann. How many does Ann have?",
        "Tom has 5 pens and gives me 2. How many do I have?",
        "I have 5 pens and Tom buys 3. How many do I have?",
        "I have 5 pens, lend 2 to Tom and he gives 1 back. How many do I have?",
        "I have 10 apples and give away half. How many do I have left?",
        "I have 5 apples. How many do I have?",
    ],
)
async def test_a_problem_that_no_rule_follows_is_not_guessed(
    chat: Conversation, question: str
) -> None:
    assert "offline demo model" in await chat.ask(question)
    assert chat.calls == []


@pytest.mark.parametrize(
    ("question", "interest", "whole"),
    [
        ("compound interest on $10,000 at 5% for 3 years, monthly", "$1,614.72", ""),
        (
            "€2500 at 4.5 percent for 18 months, compounded daily",
            "€174.56",
            "18 months",
        ),
        ("compound interest on 1000 at 10% for one year", "100.00", "After 1 year the"),
        ("£500 compounded quarterly at 8% for 2.5 years", "£109.50", "£609.50"),
    ],
)
async def test_compound_interest_knows_periods_and_currencies(
    chat: Conversation, question: str, interest: str, whole: str
) -> None:
    text = await chat.ask(question)
    assert text.startswith(f"The compound interest is **{interest}**.")
    assert whole in text


async def test_compound_interest_without_numbers_asks_for_them(
    chat: Conversation,
) -> None:
    assert "I need an amount" in await chat.ask("What is compound interest?")


async def test_compound_interest_beyond_the_calculator_is_told(
    chat: Conversation,
) -> None:
    text = await chat.ask("compound interest on $1 at 900% for 999999 years")
    assert (
        text == "I could not work it out. The calculator says: The result is too large."
    )


@pytest.mark.parametrize(
    ("question", "zones"),
    [
        ("What time is it?", [{}]),
        ("What time is it in Tokyo?", [{"timezone": "Tokyo"}]),
        ("what's the time in Europe/Berlin", [{"timezone": "Europe/Berlin"}]),
        (
            "What day is it in New York and in London right now?",
            [{"timezone": "New York"}, {"timezone": "London"}],
        ),
    ],
)
async def test_the_clock_is_asked_for_the_time(
    chat: Conversation, question: str, zones: list[dict[str, str]]
) -> None:
    text = await chat.ask(question)
    assert [[json.loads(call) for call in calls] for calls in chat.calls] == [zones]
    for result in chat.results:
        told = datetime.fromisoformat(result.result.partition(" ")[0])
        assert abs(told - datetime.now(UTC)) < timedelta(minutes=1)
        assert result.result in text


async def test_a_place_without_a_clock_is_told(chat: Conversation) -> None:
    text = await chat.ask("What time is it in Atlantis?")
    assert text.startswith("I cannot tell the time. There is no time zone 'Atlantis'.")


async def test_a_name_is_found_in_the_history(chat: Conversation) -> None:
    assert await chat.ask("What is my name?") == "You have not told me your name."
    assert "Ada" in await chat.ask("My name is Ada.")
    assert await chat.ask("What is my name?") == "Your name is Ada."


@pytest.mark.parametrize("question", ["Hi", "hello there", "help", "Who are you?"])
async def test_a_greeting_is_answered_with_what_it_is_and_can(
    chat: Conversation, question: str
) -> None:
    text = await chat.ask(question)
    assert "not a language model" in text
    assert "`count to 500`" in text


async def test_each_example_of_the_help_does_what_it_says(chat: Conversation) -> None:
    help_text = await chat.ask("help")
    examples = [part for part in help_text.split("`")[1::2] if " " in part]
    assert len(examples) > 8
    for example in examples:
        if not example.startswith(("…", "wait", "fail")):
            assert "I cannot answer" not in await chat.ask(example), example


async def test_any_tool_can_be_called_by_its_name() -> None:
    @tool
    def shout(text: str) -> str:
        """Say it loudly."""
        return text.upper()

    chat = Conversation(DemoOptions(demo_delay_ms=0), Toolbox([shout]))
    text = await chat.ask('call shout with {"text": "héllo"}')
    assert text == "`shout` answered:\n\nHÉLLO"
    text = await chat.ask('call shout with {"volume": 11}')
    assert text.startswith("`shout` answered with an error:")
    assert "not JSON" in await chat.ask("call shout with {text}")


async def test_thinking_says_what_is_found_and_what_is_called(
    chat: Conversation,
) -> None:
    await chat.ask("What is 15% of 240, and what is the square root of 144?")
    first, second = chat.answers
    assert "2 things to calculate" in first.thinking
    assert "15% of 240; sqrt(144)" in first.thinking
    assert "calculator has answered" in second.thinking


async def test_in_the_last_iteration_it_answers_without_tools(
    chat: Conversation,
) -> None:
    text = await chat.ask("What is 6 * 7?", iterations=1)
    assert text == (
        "I cannot answer this: I would call `calculator(6 * 7)`, but this run has no "
        "iterations left for tools."
    )
    assert chat.calls == []
    assert chat.answers[-1].end.stop_reason == "tool_use"


async def test_a_chain_that_runs_out_of_iterations_says_what_it_would_do_next(
    chat: Conversation,
) -> None:
    text = await chat.ask("What is 10 + 2, then divide it by 3?", iterations=2)
    assert "`calculator(12 / 3)`" in text


async def test_without_its_tools_it_says_which_it_lacks() -> None:
    chat = Conversation(DemoOptions(demo_delay_ms=0), Toolbox())
    text = await chat.ask("What is 6 * 7?")
    assert text.endswith("but there is no tool calculator.")
    assert chat.answers[-1].end.stop_reason == "end_turn"


async def test_more_than_its_rules_read_is_told(chat: Conversation) -> None:
    assert "up to 1,000 characters" in await chat.ask("1+" * 5000 + "1")
