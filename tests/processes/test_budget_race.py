"""Fifty runs at once in two processes never exceed one budget."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from streaming.testing.provider import Reply, Request, StandInProvider
from streaming.testing.server import Server
from tests import chat
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import SECONDS, UVICORN, model_variables

RUNS = 50
MAX_TOKENS = 200
#: A call reserves its longest response and some hundred bytes of request.
BUDGET = 20_000
#: The tokens that the model counts for each call.
COUNTED = 150

SET_UP = f"""
from streaming.models import Limit
Limit.objects.create(kind="organization", tokens_per_day={BUDGET})
"""
READ = """
import json
from streaming.models import Account, Reservation, Run
row = Account.objects.get()
runs = Run.objects.values_list("status", "stop_reason", "input_tokens", "output_tokens")
print(json.dumps({
    "settled": row.tokens, "reserved": row.reserved_tokens,
    "held": Reservation.objects.count(), "runs": list(runs),
}))
"""


async def shell(server: Server, code: str) -> str:
    ended = await asyncio.to_thread(server.run, "manage.py", "shell", "-c", code)
    assert ended.returncode == 0, ended.stderr
    return str(ended.stdout).strip().rpartition("\n")[2]


async def state(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await shell(server, READ))
    return found


async def ask(client: httpx.AsyncClient, server: Server) -> str:
    """Run once; return the stop reason, or the code of the error."""
    response = await client.post(f"{server.url}{API}/run", json={"input": "Hi"})
    if response.status_code == 200:
        return str(response.json()["execution_summary"]["stop_reason"])
    return str(response.json()["code"])


@pytest.mark.postgresql
async def test_two_processes_share_a_budget(make: Make) -> None:
    reply = Reply.of(
        [chat.pieces("one"), chat.pieces("two"), chat.ending(asked=100, said=50)],
        delay=0.02,
    )
    async with StandInProvider(lambda _: reply) as upstream:
        variables = {**model_variables(upstream), "LLM_MAX_TOKENS": str(MAX_TOKENS)}
        servers = [make(*UVICORN, **variables) for _ in range(2)]
        for server in servers:
            await asyncio.to_thread(server.start)
        await shell(servers[0], SET_UP)
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            asked = [ask(client, servers[at % 2]) for at in range(RUNS)]
            first = Counter(await asyncio.gather(*asked))
            found = await state(servers[0])
            assert (found["reserved"], found["held"]) == (0, 0)
            assert found["settled"] == COUNTED * first["end_turn"]
            assert sum(a + b for _, _, a, b in found["runs"]) == found["settled"]
            assert len(upstream.requests) == first["end_turn"]
            # One after the other, until nothing more fits.
            later = ""
            while later not in ("budget", "budget_exhausted"):
                later = await ask(client, servers[0])
        found = await state(servers[1])
        assert BUDGET - 10_000 < found["settled"] <= BUDGET


@pytest.mark.sqlite
async def test_a_killed_process_is_charged_for_what_it_had_reserved(make: Make) -> None:
    def reply(_: Request) -> Reply:
        return Reply(chat.pieces("x"), end="hang")

    async with StandInProvider(reply) as upstream:
        own = {"RUN_LEASE_SECONDS": "4", "LLM_MAX_TOKENS": str(MAX_TOKENS)}
        variables = {**model_variables(upstream), **own}
        killed, other = (make(*UVICORN, **variables) for _ in range(2))
        for server in (killed, other):
            await asyncio.to_thread(server.start)
        await shell(other, SET_UP)
        async with (
            httpx.AsyncClient(timeout=SECONDS) as client,
            client.stream(
                "POST", f"{killed.url}{API}/stream", json={"input": "Hi"}
            ) as response,
        ):
            lines = response.aiter_lines()
            async for line in lines:
                if line == "event: content":
                    break
            before = await state(other)
            assert (before["settled"], before["held"]) == (0, 1)
            killed.kill()
        async with asyncio.timeout(SECONDS):
            while (after := await state(other))["held"]:  # each takes a second
                pass
        assert after["settled"] == before["reserved"]
        assert after["runs"][0][0] == "failed"
