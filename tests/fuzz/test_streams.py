"""Damaged provider streams, from the parsers to the end of the agent's run.

10,000 of them in `make test`, each with its seed, and many more in `make test-long`.
"""

import asyncio
import json
import random
from collections.abc import Iterator

import msgspec
import pytest

from streaming.agent.loop import AgentLoop
from streaming.agent.progress import Progress
from streaming.events import Event, encode_all
from streaming.exceptions import ProviderError
from streaming.messages import (
    Message,
    parts_from_json,
    parts_to_json,
    user_message,
)
from streaming.providers.base import ProviderOptions
from streaming.providers.limits import MAX_COUNT
from streaming.tools import Context, Toolbox, ToolError, tool
from tests import campaign
from tests.fuzz.feed import fed_provider
from tests.fuzz.streams import APIS, Api, cut, damaged_stream, good_stream

STREAMS_PER_SEED = 850
SECONDS = 10
OPTIONS = ProviderOptions(
    llm_max_retries=0,
    llm_max_response_chars=20_000,
    llm_max_arguments_chars=2_000,
    llm_first_token_timeout_seconds=SECONDS / 2,
)
MAX_RUN_CHARS = 30_000
QUESTION = user_message("Hi?")


@tool
async def echo(text: str) -> str:
    """Return the text."""
    return text


@tool
async def fail() -> str:
    """Fail."""
    raise ToolError("No luck.")


TOOLBOX = Toolbox([echo, fail])


async def nothing() -> None:
    """Be a checkpoint that stores nothing."""


async def run(
    api: Api, streams: Iterator[list[bytes]], history: list[Message]
) -> tuple[Progress, list[Event]]:
    """Run the agent to its end, which may be an error of the provider's."""
    agent = AgentLoop(
        provider=fed_provider(api, streams, OPTIONS),
        toolbox=TOOLBOX,
        limits=OPTIONS.limits,
        max_run_chars=MAX_RUN_CHARS,
    )
    progress, events = Progress(), []
    batches = agent.run(
        history,
        Context(run="run_1"),
        max_iterations=3,
        progress=progress,
        checkpoint=nothing,
    )
    async with asyncio.timeout(SECONDS):
        try:
            async for batch in batches:
                events += batch
        except ProviderError as error:
            assert error.code.startswith(("provider_", "context_"))
    return progress, events


def check_storable(progress: Progress, events: list[Event]) -> None:
    """Assert that the database accepts all that a run has made."""
    stored = [line.decode() for line in encode_all(events)]
    for message in progress.messages:
        assert message.parts
        parts = parts_to_json(message.parts)
        stored.append(json.dumps(parts, allow_nan=False, ensure_ascii=False))
        assert parts_from_json(json.loads(stored[-1])) == message.parts
    for text in stored:
        text.encode()
        assert r"\u0000" not in text.replace(r"\\", "")
    counts = msgspec.structs.astuple(progress.usage)
    assert all(0 <= count <= MAX_COUNT for count in counts)
    assert progress.tool_calls <= 3 * OPTIONS.llm_max_tool_calls
    assert progress.added_chars <= MAX_RUN_CHARS + 10_000
    msgspec.json.encode(progress.messages)


@pytest.mark.parametrize("seed", campaign.seeds(4))
@pytest.mark.parametrize("api", APIS)
async def test_each_run_ends_and_the_next_one_works(api: Api, seed: int) -> None:
    for number in range(STREAMS_PER_SEED):
        name = f"{api} {seed} {number}"
        chance = random.Random(name)
        bodies: list[bytes] = []

        def streams(
            chance: random.Random = chance, bodies: list[bytes] = bodies
        ) -> Iterator[list[bytes]]:
            while True:
                bodies.append(damaged_stream(chance, api))
                yield cut(chance, bodies[-1])

        try:
            progress, events = await run(api, streams(), [QUESTION])
            check_storable(progress, events)
            history = [QUESTION, *progress.messages, user_message("And?")]
            progress, _ = await run(api, iter([[good_stream(api)]]), history)
            assert progress.output == "Good"
        except BaseException as error:
            error.add_note(f"Stream {name!r}: {bodies}")
            raise
