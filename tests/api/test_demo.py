"""The demo model answers its documented prompts through the whole application."""

import html

import pytest

from streaming.api.pages import QUESTIONS
from tests.client import Api
from tests.providers.demo_prompts import APPLES, EXPLAIN, INTEREST, PROMPTS, PUZZLE
from tests.servers import ROOT


@pytest.mark.parametrize(
    ("prompt", "expected", "tools"),
    [
        (EXPLAIN, ["recorded", "offline demo model", "oxygen"], 0),
        (APPLES, ["35 apples"], 2),
        (INTEREST, ["$1,584.05"], 2),
        (PUZZLE, ["recorded", "Ann: green. Bob: blue. Cleo: red."], 0),
    ],
)
async def test_the_documented_prompts_are_answered(
    api: Api, prompt: str, expected: list[str], tools: int
) -> None:
    response = await api.stream(prompt)
    text = "".join(frame.data.get("content", "") for frame in response.frames)
    for words in expected:
        assert words in text
    assert response.events.count("tool_result") == tools
    assert response.events.count("thinking") > 0
    assert response.frames[-2].data["metadata"]["stop_reason"] == "end_turn"


def test_the_documented_prompts_are_offered() -> None:
    readme = " ".join(html.unescape((ROOT / "README.md").read_text()).split())
    offered = {question["prompt"] for question in QUESTIONS}
    for prompt in PROMPTS:
        assert prompt in readme
        assert prompt in offered


async def test_an_answer_that_needs_more_iterations_names_the_limit(api: Api) -> None:
    answer = (await api.run("What is 15% of 240?", max_iterations=1)).json
    assert answer["execution_summary"]["stop_reason"] == "max_iterations"
    assert answer["execution_summary"]["tool_calls"] == 0
    assert answer["output"]
