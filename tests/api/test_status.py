"""Health, readiness, metadata, and requests of browsers on other origins."""

import asyncio
import json
import threading
import time

import pytest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncRequestFactory, override_settings
from django.urls import path

from streaming import conf, runs
from streaming.api import status
from streaming.api.endpoint import public_endpoint
from streaming.events import EVENT_TYPES
from streaming.storage import database
from tests.client import API, SECONDS, Api, Response


async def test_health_needs_no_database(api: Api) -> None:
    before = int(time.time())
    health = (await api.get("/health")).json
    assert before <= health.pop("time") <= time.time()
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
        "details": {
            "abandoned_tool_calls": 0,
            "queue": {"runs": 0, "oldest_seconds": 0.0},
            "workers": {"serving": 0, "draining": 0, "lost": 0},
        },
    }


async def test_ready_does_not_wait_for_a_database_that_hangs(api: Api) -> None:
    begun, answer = threading.Barrier(2), threading.Event()

    def hang() -> None:
        begun.wait(SECONDS)
        answer.wait(SECONDS)

    hanging = [asyncio.create_task(database.execute_read_in(database.PROBE, hang))]
    try:
        await asyncio.to_thread(begun.wait, SECONDS)
        ready = await status.readiness(seconds=0.2)(AsyncRequestFactory().get("/ready"))
        alive = await api.get("/health")
    finally:
        answer.set()
        await asyncio.gather(*hanging)
    assert (ready.status_code, alive.status) == (503, 200)
    assert isinstance(ready, HttpResponse)
    assert json.loads(ready.content)["checks"]["database"] == "unreachable"


async def test_ready_does_not_wait_for_other_reads(api: Api) -> None:
    readers = conf.get().database_read_threads
    begun, answer = threading.Barrier(readers + 3), threading.Event()

    def hang() -> None:
        begun.wait(SECONDS)
        answer.wait(SECONDS)

    lanes = [database.READ] * readers + [database.SEARCH, database.CONVERSATIONS]
    hanging = [
        asyncio.create_task(database.execute_read_in(lane, hang)) for lane in lanes
    ]
    try:
        await asyncio.to_thread(begun.wait, SECONDS)
        assert (await api.get("/ready")).status == 200
    finally:
        answer.set()
        await asyncio.gather(*hanging)


@public_endpoint("GET")
async def failing(request: HttpRequest) -> HttpResponseBase:
    def fail() -> None:
        raise OperationalError("connection refused by database.internal:5432")

    await database.execute_read(fail)
    return HttpResponse()


urlpatterns = [path("failing", failing)]


@override_settings(ROOT_URLCONF=__name__)
async def test_a_request_says_that_the_database_does_not_respond(api: Api) -> None:
    response = await api.get("/failing")
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert response.json == {
        "error": "The database does not answer.",
        "code": "database_unavailable",
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


async def preflight(api: Api, **headers: str) -> Response:
    """Send the preflight of a `POST /stream` from https://a.example."""
    asked = {
        "origin": "https://a.example",
        "access_control_request_method": "POST",
        **headers,
    }
    with override_settings(CORS_ALLOWED_ORIGINS=["https://a.example"]):
        async with api.open("OPTIONS", f"{API}/stream", headers=asked) as stream:
            return await stream.end()


@pytest.mark.parametrize(
    "header",
    [
        "content-type",
        "last-event-id",
        "idempotency-key",
        "authorization",
        "x-api-key",
        "x-csrftoken",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "b3",
        "x-b3-traceid",
        "x-datadog-trace-id",
        "x-request-id",
    ],
)
async def test_a_preflight_allows_the_headers_of_the_api_of_tracing_and_of_csrf(
    api: Api, header: str
) -> None:
    response = await preflight(api, access_control_request_headers=header)
    assert response.status == 200
    allowed = response.headers["access-control-allow-headers"].split(", ")
    assert header in allowed
    assert "access-control-allow-credentials" not in response.headers


async def test_credentials_are_allowed_to_listed_origins_only(api: Api) -> None:
    with override_settings(CORS_ALLOW_CREDENTIALS=True):
        listed = await preflight(api)
        other = await preflight(api, origin="https://b.example")
    assert listed.headers["access-control-allow-credentials"] == "true"
    assert listed.headers["access-control-allow-origin"] == "https://a.example"
    assert "access-control-allow-origin" not in other.headers


async def test_changes_of_the_readiness_are_logged_and_not_each_probe(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    ready = status.readiness(seconds=2.0)
    request = AsyncRequestFactory().get("/ready")
    assert (await ready(request)).status_code == 200
    service = runs.get_service()
    await service.drain(0)
    for _ in range(3):
        assert (await ready(request)).status_code == 503
    await runs.aclose()
    for _ in range(3):
        assert (await ready(request)).status_code == 200
    logged = [r.getMessage() for r in caplog.records if r.name == status.__name__]
    assert logged == ["readiness lost", "readiness gained"]
