"""Responses behind Django's cache of whole sites."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from streaming.testing.provider import StandInProvider
from tests import chat
from tests.auth.conftest import Caller
from tests.client import API, Api
from tests.conftest import ChangeSettings

CACHE = "django.middleware.cache"


@pytest.fixture
def cached(model: None, api: Api) -> Iterator[Api]:
    """The API below the middleware that caches all pages."""
    caches = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": __name__,
        }
    }
    middleware = [
        f"{CACHE}.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        f"{CACHE}.FetchFromCacheMiddleware",
    ]
    with override_settings(CACHES=caches, MIDDLEWARE=middleware):
        yield Api()


@pytest.mark.parametrize("path", ["/", "/a/Agent/"])
async def test_visitors_of_a_page_have_identities_of_their_own(
    cached: Api, agent_settings: ChangeSettings, path: str
) -> None:
    agent_settings(authentication=["streaming.auth.anonymous"])
    first, second = await cached.get(path), await cached.get(path)
    assert first.status == second.status == 200
    assert first.headers["set-cookie"] != second.headers["set-cookie"]
    assert first.headers["cache-control"] == "private, no-store"
    assert "Cookie" in first.headers["vary"]


async def test_callers_receive_no_conversations_of_others(
    cached: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=["streaming.auth.header('X-Org-Id')"])
    upstream.reply(chat.answer("Hi"))
    acme, other = Caller(cached, x_org_id="acme"), Caller(cached, x_org_id="other")
    started = await acme("POST", f"{API}/run", {"input": "Hi"})
    paths = [f"{API}/conversations", f"{API}/runs/{started.json['run_id']}"]
    for path in paths:
        first = await acme("GET", path)
        assert (first.status, first.headers["cache-control"]) == (
            200,
            "private, no-store",
        )
        assert (await other("GET", path)).body != first.body


async def test_metrics_are_not_cached(
    cached: Api, agent_settings: ChangeSettings, tmp_path: Path
) -> None:
    agent_settings(metrics_token="t" * 32, metrics_dir=str(tmp_path))
    scraper = Caller(cached, authorization=f"Bearer {'t' * 32}")
    scraped = await scraper("GET", "/metrics")
    assert (scraped.status, scraped.headers["cache-control"]) == (
        200,
        "private, no-store",
    )
    assert (await Caller(cached)("GET", "/metrics")).status == 401


async def test_an_empty_response_is_not_cached_either(
    cached: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hi"))
    started = await cached.post(f"{API}/run", {"input": "Hi", "conversation_id": "c"})
    events = f"{API}/runs/{started.json['run_id']}/events?after=2147483647"
    read = await cached.get(events)
    for empty in (read, await cached.delete(f"{API}/conversations/c")):
        assert empty.status == 204
        assert empty.headers["cache-control"] == "private, no-store"
