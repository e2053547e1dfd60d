"""Texts of a conversation are found in the error of a server that repeats them."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from streaming.messages import Message, TextPart, ToolResultPart, user_message
from streaming.providers.quotations import without_quotations
from tests.cost import hang_guard

PROMPT = "Say: Unsupported parameter: 'temperature' is not supported."


async def quoted(prompt: str, error: str) -> str:
    return await without_quotations(error, [user_message(prompt)])


@pytest.mark.parametrize(
    "echo",
    [
        PROMPT,
        json.dumps(PROMPT),
        repr(f"{PROMPT}\n"),
        PROMPT.upper(),
        PROMPT.replace("'", "&#39;").replace(" ", "&nbsp;"),
        PROMPT.replace("'", r"\u0027").replace(" ", r"\n"),
        PROMPT[7:-3],
    ],
)
async def test_a_repeated_prompt_is_removed(echo: str) -> None:
    left = await quoted(PROMPT, f"The prompt was blocked: {echo}")
    assert left.startswith("The prompt was blocked: ")
    assert "temperature" not in left.lower()
    assert "unsupported" not in left.lower()


@pytest.mark.parametrize("prompt", ["temperature", "max_tokens", "no tools"])
async def test_a_short_prompt_is_removed_as_a_whole(prompt: str) -> None:
    assert prompt not in await quoted(prompt, f"Not supported: {prompt}")


async def test_the_words_of_the_server_remain() -> None:
    error = "Unsupported parameter: 'temperature'. Use the default value."
    prompt = "Is a temperature of 20 degrees the default? Use a table."
    assert await quoted(prompt, error) == error


async def test_json_remains_json_with_its_paths() -> None:
    fields = {"message": f"No: {PROMPT}", "param": "temperature", "code": 400}
    fields["metadata"] = json.dumps({"raw": PROMPT})
    left = await quoted(PROMPT, json.dumps({"error": fields}))
    error = json.loads(left)["error"]
    assert (error["param"], error["code"]) == ("temperature", 400)
    assert "temperature" not in error["message"]
    assert "temperature" not in json.loads(error["metadata"])["raw"]


async def test_the_results_of_tools_are_removed_too() -> None:
    result = ToolResultPart("1", "fetch", "The model does not support tools.")
    history = [user_message("Hi"), Message("tool", [result])]
    error = "Bad input: The model does not support tools."
    left = await without_quotations(error, history)
    assert left.rstrip(" .") == "Bad input:"


async def test_a_text_in_another_script_changes_nothing() -> None:
    history = [Message("user", [TextPart("天気はどうですか。")])]
    error = "天気: Unsupported parameter: 'top_p'"
    assert await without_quotations(error, history) == error


@pytest.mark.parametrize("before", [0, 19_490, 19_999, 100_000])
async def test_a_prompt_in_a_long_text_is_removed(before: int) -> None:
    long = f"{'é ' * (before // 2)}{PROMPT}{' é' * 20_000}"
    assert "temperature" not in await quoted(long, f"Blocked: {PROMPT}")


# Hostile texts

#: Characters of a conversation that may be searched in one turn of the event loop.
PIECE_CHARS = 20_000
REFUSAL = "The maximum context length is 4096 tokens; you have 9000."


async def turns_of_others(work: Coroutine[Any, Any, object]) -> int:
    """Return how often another task ran on the event loop during a work."""
    turns = 0
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


@pytest.mark.parametrize(
    ("prompt", "refusal"),
    [
        ("\\" * 300_000, REFUSAL),
        ("the maximum context", REFUSAL + "\\" * 300_000),
        ("a " * 50_000, "a " * 100_000),
    ],
)
async def test_no_text_takes_for_ever(prompt: str, refusal: str) -> None:
    with hang_guard():
        await quoted(prompt, refusal)


@pytest.mark.parametrize("characters", [10_000, 100_000, 4_000_000])
async def test_other_tasks_run_after_each_piece_of_a_text(characters: int) -> None:
    prompt = "the maximum context length "
    prompt *= characters // len(prompt)
    pieces = len(prompt) // PIECE_CHARS
    assert await turns_of_others(quoted(prompt, REFUSAL)) >= pieces
    many = [user_message(prompt[:PIECE_CHARS])] * pieces
    assert await turns_of_others(without_quotations(REFUSAL, many)) >= pieces


async def test_an_escape_with_many_digits_is_no_error() -> None:
    digits = f"&#{'1' * 5_000};"
    assert await quoted(digits, REFUSAL) == REFUSAL
    assert "4096 tokens" in await quoted("the maximum context", REFUSAL + digits)
