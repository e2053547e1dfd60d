"""The README's prompts, answered by the offline model through the whole application."""

import pytest

from tests.client import Api


@pytest.mark.parametrize(
    ("prompt", "expected", "tools"),
    [
        (
            "Explain the process of photosynthesis in simple terms.",
            ["offline demo model", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"],
            0,
        ),
        (
            "If I have 5 apples and give away 2, then buy 3 more, how many do I have?",
            ["6 apples"],
            1,
        ),
        (
            "Calculate the compound interest on $10,000 at 5% annual rate for 3 years.",
            ["$1,576.25", "$11,576.25"],
            2,
        ),
        (
            "What is 15% of 240, and what is the square root of 144?",
            ["36", "12"],
            2,
        ),
    ],
)
async def test_the_readmes_prompts_are_answered(
    api: Api, prompt: str, expected: list[str], tools: int
) -> None:
    response = await api.stream(prompt)
    for text in expected:
        assert text in response.text
    assert response.events.count("tool_result") == tools
    assert response.events.count("thinking") > 0
    assert response.frames[-2].data["metadata"]["stop_reason"] == "end_turn"


async def test_what_would_have_gone_on_is_told(api: Api) -> None:
    answer = (await api.run("What is 15% of 240?", max_iterations=1)).json
    assert answer["execution_summary"]["stop_reason"] == "max_iterations"
    assert answer["execution_summary"]["tool_calls"] == 0
    assert answer["output"]
