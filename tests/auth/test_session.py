"""Django sessions as credentials of the API, whose paths have no middleware."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from django.db import OperationalError
from django.test import override_settings
from pytest_django import DjangoAssertNumQueries

from streaming.api.follow import follow
from streaming.auth import revocation, sessions
from streaming.auth.logins import find_logins
from streaming.models import Run
from streaming.principals import Principal
from streaming.testing.provider import Reply, StandInProvider
from streaming.wire.native import NativeFormat
from tests import chat
from tests.auth.conftest import Caller, cookies_of, log_in, make_user, session_of
from tests.client import API, Api
from tests.conftest import ChangeSettings

HI = {"input": "Hi", "conversation_id": "c"}

pytestmark = pytest.mark.usefixtures("model", "session")


async def test_a_user_owns_the_conversations_of_a_session(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("secret"))
    alice = await session_of(api, await make_user("alice"))
    bob = await session_of(api, await make_user("bob"))
    started = await alice("POST", f"{API}/run", HI)
    assert (started.status, started.json["org_id"]) == (200, "default")
    run = await Run.objects.aget()
    assert run.owner == run.user
    assert run.credential.startswith("session:")
    for path in (f"{API}/runs/{run.id}", f"{API}/conversations/c"):
        assert (await alice("GET", path)).status == 200
        foreign, missing = await bob("GET", path), await bob("GET", f"{path}x")
        assert (foreign.status, foreign.body) == (404, missing.body)


async def test_colleagues_share_conversations_if_the_project_wants_it(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=["streaming.auth.session"], share="organization")
    upstream.reply(chat.answer("shared"))
    alice = await session_of(api, await make_user("alice"))
    bob = await session_of(api, await make_user("bob"))
    await alice("POST", f"{API}/run", HI)
    run = await Run.objects.aget()
    assert (run.owner, bool(run.user)) == ("", True)
    assert (await bob("GET", f"{API}/conversations/c")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x_csrftoken": ""},
        {"x_csrftoken": "u" * 32},
        {"x_csrftoken": "short"},
        {"origin": "https://evil.example"},
    ],
    ids=["no token", "wrong token", "no token at all", "another origin"],
)
async def test_a_session_without_its_csrf_token_is_refused_in_json(
    api: Api, headers: dict[str, str]
) -> None:
    alice = await session_of(api, await make_user("alice"))
    forged = alice.with_headers(**headers)
    for method, path in [
        ("POST", f"{API}/run"),
        ("POST", f"{API}/stream"),
        ("POST", f"{API}/runs/x/cancel"),
        ("DELETE", f"{API}/conversations/c"),
    ]:
        refused = await forged(method, path, HI if method == "POST" else None)
        assert refused.headers["content-type"] == "application/json"
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert "X-Csrftoken" in refused.json["error"]
    assert not await Run.objects.aexists()
    assert (await forged("GET", f"{API}/conversations")).status == 200


async def test_a_body_that_is_a_form_is_refused_and_not_parsed(api: Api) -> None:
    alice = await session_of(api, await make_user("alice"))
    for kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        form = alice.with_headers(content_type=kind)
        refused = await form("POST", f"{API}/run", b"--x\r\ncsrfmiddlewaretoken=1")
        assert (refused.status, refused.json["code"]) == (415, "unsupported_media_type")


async def test_the_secret_of_csrf_may_be_in_the_session(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hi"))
    with override_settings(CSRF_USE_SESSIONS=True):
        client = await log_in(await make_user("alice"))
        caller = Caller(api, **cookies_of(client))
        assert (await caller("POST", f"{API}/run", HI)).status == 403
        session = await client.asession()
        await session.aset("_csrftoken", "t" * 32)
        await session.asave()
        assert (await caller("POST", f"{API}/run", HI)).status == 200


@pytest.mark.parametrize(
    "engine", ["db", "cache", "cached_db", "signed_cookies", "file"]
)
async def test_each_engine_of_sessions_works(
    api: Api, upstream: StandInProvider, engine: str
) -> None:
    upstream.reply(chat.answer("Hi"))
    user = await make_user("alice")
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        alice = await session_of(api, user)
        assert (await alice("POST", f"{API}/run", HI)).status == 200
        assert (await Run.objects.aget()).user == str(user.pk)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
        sessions._users.clear()
        assert (await alice("GET", f"{API}/conversations")).status == 401


@pytest.mark.parametrize(
    "cookie",
    ["", "sessionid=", "sessionid=unknown", "sessionid=%00", "sessionid=é\x7f"],
)
async def test_without_a_valid_session_the_credentials_are_asked_for(
    api: Api, cookie: str
) -> None:
    response = await Caller(api, cookie=cookie)("GET", f"{API}/conversations")
    assert (response.status, response.json["code"]) == (401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


class StrictCache(LocMemCache):
    """A cache in memory that accepts the keys of Memcached."""

    validate_key = BaseMemcachedCache.validate_key


@pytest.mark.parametrize("engine", ["cache", "cached_db"])
@pytest.mark.parametrize("key", ['"aaaa bbbb"', "é" * 8, "a" * 300])
async def test_a_key_that_memcached_refuses_is_no_session(
    api: Api, engine: str, key: str
) -> None:
    strict = {"default": {"BACKEND": f"{__name__}.{StrictCache.__name__}"}}
    with override_settings(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}", CACHES=strict
    ):
        caller = Caller(api, cookie=f"sessionid={key}")
        assert (await caller("GET", f"{API}/conversations")).status == 401


@pytest.mark.django_db
def test_many_sessions_are_read_in_two_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
    client: Any,  # noqa: ANN401
) -> None:
    keys = []
    for name in ("alice", "bob", "charlie"):
        client.force_login(User.objects.create_user(name))
        keys.append(client.session.session_key)
        client.cookies.clear()
    with django_assert_num_queries(2):
        found = find_logins([*keys, "unknown"])
    assert {key: login.user.username for key, login in found.items()} == dict(
        zip(keys, ("alice", "bob", "charlie"), strict=True)
    )


class OwnBackend:
    """A backend that finds users in its own way."""

    def get_user(self, user_id: str) -> User | None:
        """Return the user, unless the name is `blocked`."""
        return User.objects.exclude(username="blocked").filter(pk=user_id).first()


@pytest.mark.parametrize(("name", "status"), [("alice", 200), ("blocked", 401)])
async def test_a_backend_of_the_project_finds_its_users(
    api: Api, name: str, status: int
) -> None:
    backend = f"{__name__}.OwnBackend"
    with override_settings(AUTHENTICATION_BACKENDS=[backend]):
        caller = await session_of(api, await make_user(name))
        assert (await caller("GET", f"{API}/conversations")).status == status
    with override_settings(AUTHENTICATION_BACKENDS=[]):
        sessions._users.clear()
        assert (await caller("GET", f"{API}/conversations")).status == 401


async def test_a_login_outlives_a_new_secret_key_and_is_not_changed(api: Api) -> None:
    alice = await session_of(api, await make_user("alice"))
    before = await Session.objects.aget()
    with override_settings(
        SECRET_KEY="new", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]
    ):
        assert (await alice("GET", f"{API}/conversations")).status == 200
    after = await Session.objects.aget()
    assert (after.pk, after.session_data) == (before.pk, before.session_data)


@contextmanager
def apps_of(names: list[str]) -> Iterator[None]:
    """Have only these apps installed."""
    apps.set_available_apps(names)
    try:
        yield
    finally:
        apps.unset_available_apps()


@pytest.mark.parametrize("app", ["auth", "sessions"])
def test_a_project_without_sessions_has_no_logins(app: str) -> None:
    name = f"django.contrib.{app}"
    remaining = [each.name for each in apps.get_app_configs() if each.name != name]
    assert sessions.has_sessions()
    with apps_of(remaining):
        assert not sessions.has_sessions()


async def test_the_page_gets_a_token_for_its_requests(
    api: Api, agent_settings: ChangeSettings
) -> None:
    assert "csrftoken=" in (await api.get("/")).headers["set-cookie"]
    described = (await api.get(f"{API}/metadata")).json["authentication"]
    assert described == {
        "methods": ["session"],
        "login_url": "/admin/login/",
        "csrf_header": "X-Csrftoken",
        "csrf_cookie": "csrftoken",
    }
    own = ["streaming.auth.header('X-Org-Id')", "tests.auth.test_functions.bearer"]
    agent_settings(authentication=own)
    assert "set-cookie" not in (await api.get("/")).headers
    described = (await api.get(f"{API}/metadata")).json["authentication"]
    assert described == {"methods": ["header", "custom"]}


async def test_a_login_is_read_once_in_a_few_seconds(api: Api) -> None:
    alice = await session_of(api, await make_user("alice"))
    assert (await alice("GET", f"{API}/conversations")).status == 200
    await Session.objects.all().adelete()
    assert (await alice("GET", f"{API}/conversations")).status == 200
    sessions._users.clear()  # as after these seconds
    assert (await alice("GET", f"{API}/conversations")).status == 401


async def test_a_logout_takes_effect_at_once(api: Api) -> None:
    client = await log_in(await make_user("alice"))
    alice = Caller(api, **cookies_of(client))
    assert (await alice("GET", f"{API}/conversations")).status == 200
    await client.alogout()
    assert (await alice("GET", f"{API}/conversations")).status == 401


async def change_password(user: User) -> None:
    user.set_password("another")
    await user.asave()


async def deactivate(user: User) -> None:
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)


async def delete(user: User) -> None:
    await User.objects.filter(pk=user.pk).adelete()


async def end_session(user: User) -> None:
    await Session.objects.all().adelete()


ENDS = [change_password, deactivate, delete, end_session]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are looked up more often."""
    monkeypatch.setattr(revocation, "INTERVAL_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("end", ENDS)
async def test_a_stream_ends_with_its_login(
    api: Api, upstream: StandInProvider, end: Callable[[User], Awaitable[None]]
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    user = await make_user("alice")
    alice = await session_of(api, user)
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        await end(user)
        bob = await session_of(api, await make_user("bob"))
        response = await stream.end()
        *_, error, done = response.frames
        assert error.data["metadata"] == {"code": "unauthenticated", "retryable": False}
        assert (done.event, done.id, error.id) == ("done", "", "")
        again = await alice("GET", f"{API}/runs/{response.frames[1].run_id}/events")
        assert again.status == 401
    # The others are not affected, and the run goes on.
    assert (await bob("GET", f"{API}/conversations")).status == 200
    assert not (await Run.objects.aget()).has_ended


async def test_a_stream_of_a_valid_login_goes_on(
    api: Api, upstream: StandInProvider
) -> None:
    held = asyncio.Event()
    parts = [chat.pieces("one"), chat.pieces("two") + chat.ending()]
    upstream.reply(Reply.of(parts, held=held))
    alice = await session_of(api, await make_user("alice"))
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        await revocation.watcher().end_revoked()
        assert not revocation.watcher().is_idle
        held.set()
        assert (await stream.end()).events[-2:] == ["complete", "done"]


async def test_a_reader_that_is_behind_ends_at_its_next_read(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    user = await make_user("alice")
    alice = await session_of(api, user)
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        run = await Run.objects.select_related("organization", "conversation").aget()
        caller = Principal("default", owner=str(user.pk), credential=f"user:{user.pk}")
        frames = follow(run, NativeFormat(), caller)
        greeting, first = await anext(frames), await anext(frames)
        assert b"event: connected" in greeting
        assert b"event: content" in first
        await deactivate(user)
        await revocation.watcher().end_revoked()
        assert b'"unauthenticated"' in await anext(frames)
        with pytest.raises(StopAsyncIteration):
            await anext(frames)


async def test_an_unavailable_database_ends_no_stream(
    api: Api, upstream: StandInProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()
    parts = [chat.pieces("one"), chat.pieces("two") + chat.ending()]
    upstream.reply(Reply.of(parts, held=held))
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail(principals: Sequence[Principal]) -> Collection[str]:
        loop.call_soon_threadsafe(asked.set)
        raise OperationalError("the database is unavailable")

    monkeypatch.setitem(revocation._kinds, "session", fail)
    monkeypatch.setattr(revocation, "INTERVAL_SECONDS", 0.05)
    alice = await session_of(api, await make_user("alice"))
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        for _ in range(2):
            asked.clear()
            async with asyncio.timeout(20):
                await asked.wait()
        held.set()
        assert (await stream.end()).events[-2:] == ["complete", "done"]


async def test_a_disconnected_client_is_no_revocation(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    alice = await session_of(api, await make_user("alice"))
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        await stream.hang_up()
        assert stream.response.events[-1] == "content"
    assert revocation.watcher().is_idle
