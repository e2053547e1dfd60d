"""Idempotency keys: which requests join a run, and which start another one."""

import asyncio
import json
from typing import Any

import pytest

from streaming.event_log import stored_log
from streaming.models import LogState, Run
from streaming.runs import RunService, recovery
from streaming.runs.recovery import Policy
from streaming.runs.timings import Timings
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api, Response, all_runs_end
from tests.faults.database import install_service

pytestmark = pytest.mark.usefixtures("model")

BODY = {"input": "Hi"}
PATHS = ("run", "stream")


def error_of(response: Response) -> Any:  # noqa: ANN401
    """Return the code of a failed run, however it was requested."""
    if response.is_stream:
        return response.frames[-2].data["metadata"]["code"]
    return response.json["code"]


def text_of(response: Response) -> Any:  # noqa: ANN401
    return response.text if response.is_stream else response.json["output"]


#: Failures of the provider, each with its code and whether it is retryable.
FAILURES = {
    "down": (Reply(b'{"error":{}}', 500, "application/json"), "provider_error", True),
    "bad request": (
        Reply(b'{"error":{"message":"no"}}', 422, "application/json"),
        "provider_error",
        False,
    ),
    "limit": (
        Reply(b'{"error":{}}', 429, "application/json"),
        "provider_rate_limited",
        True,
    ),
    "key": (
        Reply(b'{"error":{}}', 401, "application/json"),
        "provider_refused_key",
        False,
    ),
    "cut": (Reply(chat.pieces("Hal")), "provider_incomplete", True),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", FAILURES)
async def test_only_a_retryable_failure_releases_its_key(
    api: Api, upstream: StandInProvider, path: str, name: str
) -> None:
    reply, code, retryable = FAILURES[name]
    upstream.reply(reply, chat.answer("Hello"))
    failed = await api.post(f"{API}/{path}", BODY, idempotency_key="k")
    assert error_of(failed) == code
    again = await api.post(f"{API}/{path}", BODY, idempotency_key="k")
    assert len(upstream.requests) == 1 + retryable
    assert await Run.objects.acount() == 1 + retryable
    if retryable:
        assert text_of(again) == "Hello"
        # The key names the new run, which did not fail.
        joined = await api.post(f"{API}/{path}", BODY, idempotency_key="k")
        assert joined.headers["x-run-id"] == again.headers["x-run-id"]
        other = await api.post(f"{API}/{path}", {"input": "x"}, idempotency_key="k")
        assert (other.status, other.json["code"]) == (409, "idempotency_conflict")
    else:
        assert again.headers["x-run-id"] == failed.headers["x-run-id"]
        assert error_of(again) == code


async def test_a_released_key_may_be_used_with_another_body(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal")), chat.answer("Hello"))
    await api.post(f"{API}/stream", BODY, idempotency_key="k")
    other = await api.post(f"{API}/stream", {"input": "x"}, idempotency_key="k")
    assert other.text == "Hello"


async def test_requests_that_repeat_a_failed_one_together_start_one_run(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal")), chat.answer("Hello"))
    await api.post(f"{API}/stream", BODY, idempotency_key="k")
    responses = await asyncio.gather(
        *(api.post(f"{API}/stream", BODY, idempotency_key="k") for _ in range(8))
    )
    assert {response.text for response in responses} == {"Hello"}
    assert len({response.headers["x-run-id"] for response in responses}) == 1
    assert len(upstream.requests) == 2


async def test_a_cancelled_run_keeps_its_key(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    key = {"idempotency_key": "k"}
    async with api.open("POST", f"{API}/stream", BODY, key) as stream:
        await stream.until("content")
        run_id = stream.response.headers["x-run-id"]
        await api.post(f"{API}/runs/{run_id}/cancel")
        await stream.end()
    again = await api.post(f"{API}/stream", BODY, idempotency_key="k")
    assert again.headers["x-run-id"] == run_id


async def test_an_interrupted_run_releases_its_key(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"), chat.answer("Hello"))
    install_service(timings=Timings(heartbeat=60.0))
    key = {"idempotency_key": "k"}
    async with api.open("POST", f"{API}/stream", BODY, key) as stream:
        await stream.until("content")
        run = await Run.objects.aget()
        await database.execute_write(
            recovery.recover_orphan,
            run.id,
            run.heartbeat_at,
            float("inf"),
            Policy(3, lambda _: None),
        )
    again = await api.post(f"{API}/stream", BODY, idempotency_key="k")
    assert again.text == "Hello"


@pytest.mark.parametrize("retryable", [True, False])
async def test_without_its_log_a_failure_is_judged_by_its_code(
    api: Api, upstream: StandInProvider, retryable: bool
) -> None:
    upstream.reply(FAILURES["limit" if retryable else "key"][0], chat.answer("Hello"))
    await api.post(f"{API}/stream", BODY, idempotency_key="k")
    run = await Run.objects.aget()
    await database.execute_write(stored_log().delete, [run.id])
    assert (await Run.objects.aget()).log_state == LogState.REMOVED
    await api.post(f"{API}/run", BODY, idempotency_key="k")
    assert await Run.objects.acount() == 1 + retryable


async def test_the_order_of_keys_makes_no_difference(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hello"))
    context = {"b": "1", "a": "2", "\u00e9": "3"}
    bodies: list[dict[str, object]] = [
        {"input": "Hi", "context": context, "max_iterations": 3},
        {"max_iterations": 3, "context": dict(sorted(context.items())), "input": "Hi"},
        {
            "context": dict(reversed(context.items())),
            "input": "Hi",
            "max_iterations": 3,
        },
    ]
    for body in bodies:
        text = json.dumps(body).encode()
        response = await api.post(f"{API}/stream", text, idempotency_key="k")
        assert response.text == "Hello"
    assert len(upstream.requests) == 1
    swapped = {"a": "1", "b": "2", "\u00e9": "3"}
    other = await api.post(
        f"{API}/stream", bodies[0] | {"context": swapped}, idempotency_key="k"
    )
    assert (other.status, other.json["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    "changed",
    [
        {"input": "Ho"},
        {"context": {"a": "b"}},
        {"max_iterations": 2},
        {"background": True},
        {"conversation_id": "another"},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_an_event_id_of_another_bodys_run_is_a_conflict(
    api: Api, upstream: StandInProvider, changed: dict[str, object]
) -> None:
    upstream.reply(chat.answer("Hello"))
    whole = await api.stream("Hi")
    run_id = whole.headers["x-run-id"]
    event_id = {"last_event_id": f"{run_id}:1"}
    other = await api.post(f"{API}/stream", BODY | changed, **event_id)
    assert (other.status, other.json["code"]) == (409, "idempotency_conflict")
    assert await Run.objects.acount() == 1
    # A filter belongs to the connection, and not to the run.
    resumed = await api.post(
        f"{API}/stream", BODY | {"events": ["content"]}, **event_id
    )
    assert resumed.events == ["connected", "complete", "done"]


async def test_a_run_without_a_body_is_resumed_by_any(
    api: Api, upstream: StandInProvider, other_process: RunService
) -> None:
    upstream.reply(chat.answer("Hello"))
    await api.stream("Hi")
    await all_runs_end()
    await Run.objects.aupdate(request_hash="")  # as if it was started from Python
    run = await Run.objects.aget()
    resumed = await api.post(
        f"{API}/stream", {"input": "x"}, last_event_id=f"{run.id}:0"
    )
    assert resumed.text == "Hello"
