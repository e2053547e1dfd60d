"""Conversations whose requests queue, in several processes that also die."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_further_attempts import followed, posted, text_of
from tests.processes.test_queue import has_ended
from tests.servers import SECONDS, UVICORN

QUEUE = {"conversation_id": "c", "on_busy": "queue"}


def count_to(number: int) -> str:
    return " ".join(map(str, range(1, number + 1)))


def told(server: Server) -> list[tuple[str, str]]:
    """Return the questions of the conversation with their answers' numbers."""
    url = f"{server.url}{API}/conversations/c"
    messages = httpx.get(url, timeout=SECONDS).json()["messages"]
    texts = [
        (m["role"], "".join(p["text"] for p in m["parts"] if p["type"] == "text"))
        for m in messages
    ]
    assert [role for role, _ in texts] == ["user", "assistant"] * (len(texts) // 2)
    answers = [" ".join(re.findall(r"\d+", text)) for _, text in texts[1::2]]
    return list(zip([text for _, text in texts[::2]], answers, strict=True))


def test_the_queue_survives_kill_9_and_goes_on_in_its_order(make: Make) -> None:
    first = make(*UVICORN, DEMO_DELAY_MS="50", RUN_LEASE_SECONDS="2")
    second, third = (make(*UVICORN, RUN_LEASE_SECONDS="2") for _ in range(2))
    first.start()
    third.start()
    with (
        posted(first, "count to 100", **QUEUE) as active,
        posted(first, "count to 3", **QUEUE) as pending,
        posted(third, "count to 4", **QUEUE) as last,
    ):
        assert pending.until("connected").data["metadata"]["position"] == 1
        info = last.until("connected").data["metadata"]
        assert (info["status"], info["position"]) == ("pending", 2)
        active.until("content")
        run_id = pending.response.headers["X-Run-Id"]
        with followed(third, run_id) as elsewhere:
            first.kill()
            second.start()
            assert text_of(list(elsewhere)) == count_to(3)
        assert text_of(list(last)) == count_to(4)
    assert has_ended(second, active.response.headers["X-Run-Id"])
    assert told(second) == [
        (f"count to {number}", count_to(number)) for number in (100, 3, 4)
    ]


def test_ten_writers_to_two_processes_lose_nothing_and_see_one_order(
    make: Make,
) -> None:
    servers = [make(*UVICORN, DEMO_DELAY_MS="0") for _ in range(2)]
    for server in servers:
        server.start()

    def ask(number: int) -> tuple[str, str]:
        body = {"input": f"count to {number}", **QUEUE}
        url = f"{servers[number % 2].url}{API}/run"
        response = httpx.post(url, json=body, timeout=3 * SECONDS)
        assert response.status_code == 200, response.text
        numbers = re.findall(r"\d+", response.json()["output"])
        return body["input"], " ".join(numbers)

    with ThreadPoolExecutor(10) as pool:
        answered = list(pool.map(ask, range(2, 12)))
    assert answered == [(f"count to {n}", count_to(n)) for n in range(2, 12)]
    assert sorted(told(servers[0])) == sorted(answered)
    assert told(servers[0]) == told(servers[1])
