"""Health, readiness, metadata, and what browsers on other origins may do."""

import asyncio
import threading
import time

import pytest
from django.db import OperationalError
from django.test import override_settings

from streaming import conf
from streaming.api import status
from streaming.events import EVENT_TYPES
from streaming.storage import database
from tests.client import API, SECONDS, Api


async def test_health_needs_no_database(api: Api) -> None:
    health = (await api.get("/health")).json
    assert abs(health.pop("time") - time.time()) < 5
    assert health == {"status": "healthy", "agent": "Agent"}


async def test_ready_names_each_dependency(api: Api) -> None:
    ready = await api.get("/ready")
    assert ready.status == 200
    assert ready.json == {
        "status": "ready",
        "checks": {
            "database": "ok",
            "migrations": "ok",
            "event_log": "ok",
            "draining": "no",
        },
    }


async def test_ready_does_not_wait_for_a_database_that_stalls(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "READY_SECONDS", 0.2)
    readers = conf.get().database_read_threads
    begun, answer = threading.Barrier(readers + 1), threading.Event()

    def stall() -> None:
        begun.wait(SECONDS)
        answer.wait(SECONDS)

    stalled = [
        asyncio.create_task(database.execute_read(stall)) for _ in range(readers)
    ]
    try:
        await asyncio.to_thread(begun.wait, SECONDS)
        ready = await api.get("/ready")
        alive = await api.get("/health")
    finally:
        answer.set()
        await asyncio.gather(*stalled)
    assert (ready.status, alive.status) == (503, 200)
    assert ready.json["checks"]["database"] == "unreachable"


async def test_a_request_that_the_database_does_not_answer_says_so(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OperationalError("connection refused by database.internal:5432")

    monkeypatch.setattr(database, "execute_read", fail)
    response = await api.get(f"{API}/conversations")
    assert (response.status, response.headers["retry-after"]) == (500, "5")
    assert response.json == {
        "error": "The database does not answer.",
        "code": "internal_error",
    }


async def test_metadata_says_what_the_agent_can_do(api: Api) -> None:
    metadata = (await api.get(f"{API}/metadata")).json
    assert metadata["supports_streaming"] is True
    assert {"run", "stream", "metadata"} <= set(metadata["capabilities"])
    assert {"run", "stream", "metadata", "health"} <= set(metadata["endpoints"])
    assert metadata["provider"] == "demo"
    assert metadata["event_types"] == list(EVENT_TYPES)
    tools = {tool["name"]: tool for tool in metadata["tools"]}
    assert tools["calculator"]["parameters"]["type"] == "object"
    assert metadata["limits"]["max_iterations"] == 50


@pytest.mark.parametrize(
    ("options", "origin", "allowed"),
    [
        ({"CORS_ALLOWED_ORIGINS": ["https://a.example"]}, "https://a.example", True),
        ({"CORS_ALLOWED_ORIGINS": ["https://a.example"]}, "https://b.example", False),
        ({"CORS_ALLOW_ALL_ORIGINS": True}, "https://b.example", True),
    ],
)
async def test_only_listed_origins_may_read(
    api: Api, options: dict[str, object], origin: str, allowed: bool
) -> None:
    with override_settings(**options):
        response = await api.get("/health", origin=origin)
    assert ("access-control-allow-origin" in response.headers) is allowed
    if allowed:
        assert "X-Run-Id" in response.headers["access-control-expose-headers"]


async def test_a_preflight_lets_our_headers_through(api: Api) -> None:
    asked = {
        "origin": "https://a.example",
        "access_control_request_method": "POST",
        "access_control_request_headers": "content-type,last-event-id,idempotency-key",
    }
    with override_settings(CORS_ALLOWED_ORIGINS=["https://a.example"]):
        async with api.open("OPTIONS", f"{API}/stream", headers=asked) as stream:
            response = await stream.end()
    assert response.status == 200
    allowed = response.headers["access-control-allow-headers"]
    for header in ("content-type", "last-event-id", "idempotency-key"):
        assert header in allowed
