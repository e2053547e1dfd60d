"""Health, readiness, metadata, and what browsers on other origins may do."""

import time

import pytest
from django.test import override_settings

from streaming.events import EVENT_TYPES
from tests.client import API, Api


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
