"""Models that do not stop: stopped at a limit, with flat memory, in each API."""

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from streaming.agent.loop import AgentLoop
from streaming.agent.progress import Progress
from streaming.exceptions import ProviderError, ProviderTimeout
from streaming.messages import json_size, user_message
from streaming.providers.base import ProviderOptions
from streaming.tools import Context, Toolbox
from tests.fuzz.feed import fed_provider
from tests.fuzz.streams import APIS, Api
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai

LIMIT = 30_000
OPTIONS = ProviderOptions(
    llm_max_retries=0,
    llm_max_response_chars=LIMIT,
    llm_max_arguments_chars=LIMIT // 2,
)
#: Bytes for each character of the limit, and for all else.
FLAT = 20 * LIMIT + 2_000_000


async def no_checkpoint() -> None:
    """Be a checkpoint that is never reached: there is one model call."""


async def run(
    api: Api,
    pieces: Iterator[bytes],
    progress: Progress,
    options: ProviderOptions = OPTIONS,
) -> None:
    """Run the agent with one response."""
    agent = AgentLoop(
        provider=fed_provider(api, [pieces], options),
        toolbox=Toolbox(),
        limits=options.limits,
    )
    batches = agent.run(
        [user_message("Count.")],
        Context(),
        max_iterations=1,
        progress=progress,
        checkpoint=no_checkpoint,
    )
    async with asyncio.timeout(60):
        async for _ in batches:
            pass


def chat(**delta: str) -> bytes:
    return openai.chunks(openai.chunk(**delta))


def text(api: Api, number: int) -> bytes:
    """A few characters of text."""
    match api:
        case "chat":
            return chat(content="word ")
        case "responses":
            return openai.events(*openai.text_deltas("word "))
        case "messages":
            return anthropic.sse(*anthropic.text_block(0, "word "))


def thinking(api: Api, number: int) -> bytes:
    """Some reasoning, each in a block of its own."""
    match api:
        case "chat":
            return chat(reasoning_content="hm ")
        case "responses":
            return openai.events(*openai.thinking_deltas("hm ", index=number))
        case "messages":
            block = anthropic.thinking_block(number, "hm ", signature="s" * 300)
            return anthropic.sse(*block)


def arguments(api: Api, number: int) -> bytes:
    """Arguments of one call."""
    match api:
        case "chat":
            name = {} if number else {"name": "echo", "id": "call_1"}
            return openai.chunks(openai.fragment("[0, ", index=0, **name))
        case "responses":
            kind = "function_call_arguments.delta"
            return openai.events(openai.event(kind, 0, delta="[0, "))
        case "messages":
            block = anthropic.tool_block(0, "toolu_1", "echo", "[0, ", stopped=False)
            return anthropic.sse(*(block if number == 0 else block[2:]))


def calls(api: Api, number: int) -> bytes:
    """A call after the other."""
    match api:
        case "chat":
            call = {"index": number, "id": f"call_{number}", "name": "echo"}
            return openai.chunks(openai.fragment("{}", **call))
        case "responses":
            item = openai.call_item("{}", f"call_{number}", "echo", pad="x" * 100)
            return openai.events(openai.item_done(item, number))
        case "messages":
            block = anthropic.tool_block(number, f"toolu_{number}", "echo", "{}")
            return anthropic.sse(*block)


def begun(api: Api, number: int) -> bytes:
    """Calls and blocks that begin and do not end."""
    match api:
        case "chat":
            return openai.chunks(openai.fragment(index=number, id=f"call_{number}"))
        case "responses":
            kind = "function_call_arguments.delta"
            return openai.events(openai.event(kind, number, delta=""))
        case "messages":
            block = anthropic.tool_block(number, "toolu_1", "echo", stopped=False)
            return anthropic.sse(block[0])


def opaque(api: Api, number: int) -> bytes:
    """Parts that only the server understands."""
    match api:
        case "chat":
            return chat(reasoning_content="hm ") + chat(content="a")
        case "responses":
            return openai.events(openai.item_done(openai.reasoning_item(), number))
        case "messages":
            return anthropic.sse(*anthropic.redacted_block(number, "cmVkYWN0ZWQ="))


def opening(api: Api) -> bytes:
    return anthropic.sse(anthropic.start()) if api == "messages" else b""


@pytest.mark.parametrize("made", [text, thinking, arguments, calls, begun, opaque])
@pytest.mark.parametrize("api", APIS)
async def test_a_model_that_does_not_stop_is_stopped(
    api: Api, made: Callable[[Api, int], bytes]
) -> None:
    def pieces() -> Iterator[bytes]:
        if opened := opening(api):
            yield opened
        for number in count():
            yield made(api, number)

    progress = Progress()
    tracemalloc.start()
    try:
        await run(api, pieces(), progress)
        assert progress.stop_reason == "max_tokens"
    except ProviderError as error:
        assert made is thinking  # and nothing else, which the error says
        assert "LLM_THINKING" in error.message
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < FLAT
    assert progress.added_chars <= LIMIT
    assert json_size(progress.messages) <= 4 * LIMIT


@pytest.mark.parametrize("api", APIS)
async def test_signs_of_life_without_output_end_in_time(api: Api) -> None:
    def pieces() -> Iterator[bytes]:
        yield opening(api) + text(api, 0)
        while True:
            yield b"data: {}\n\n"

    options = ProviderOptions(llm_max_retries=0, llm_response_timeout_seconds=0.3)
    with pytest.raises(ProviderTimeout):
        await run(api, pieces(), Progress(), options)
