"""API keys and tokens of runs as credentials of the API."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.utils import timezone
from django.views.debug import ExceptionReporter

from streaming.auth import revocation
from streaming.auth.keys.material import NewKey
from streaming.auth.keys.run_tokens import sign_token
from streaming.models import ApiKey, Run
from streaming.principals import Principal
from streaming.runs import store
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.auth.conftest import Caller, cookies_of, log_in, make_user, session_of
from tests.auth.keys.rows import make_key
from tests.client import API, Api
from tests.conftest import ChangeSettings

HI = {"input": "Hi", "conversation_id": "c"}


@pytest.fixture(autouse=True)
def _settings(model: None, agent_settings: ChangeSettings) -> None:
    """The API authenticates by keys alone."""
    agent_settings(authentication=["streaming.auth.api_key"])


async def caller(api: Api, org_id: str = "acme", **fields: Any) -> Caller:  # noqa: ANN401
    """Return a caller with a new key."""
    key = await database.execute_write(lambda: make_key(org_id, **fields))
    return caller_with(api, key)


def caller_with(api: Api, key: NewKey) -> Caller:
    """Return a caller that sends a key."""
    return Caller(api, authorization=f"Bearer {key.text}")


def prefix_of(caller: Caller) -> str:
    """Return the prefix of a caller's key."""
    return caller.headers["authorization"].split("_")[1]


async def test_a_key_acts_for_its_organization_alone(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("secret"))
    alice, charlie = await caller(api), await caller(api, "umbrella")
    started = await alice("POST", f"{API}/run", HI)
    assert (started.status, started.json["org_id"]) == (200, "acme")
    run = await Run.objects.aget()
    assert (run.owner, run.user) == ("", "")
    assert run.credential == f"key:{prefix_of(alice)}"
    for path in (f"{API}/runs/{run.id}", f"{API}/conversations/c"):
        assert (await alice("GET", path)).status == 200
        foreign, missing = await charlie("GET", path), await charlie("GET", f"{path}x")
        assert (foreign.status, foreign.body) == (404, missing.body)


async def test_the_other_header_is_the_same(api: Api) -> None:
    key = await database.execute_write(make_key)
    response = await Caller(api, x_api_key=key.text)("GET", f"{API}/conversations")
    assert response.status == 200


async def test_a_key_of_a_user_reaches_the_conversations_of_the_user(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    upstream.reply(chat.answer("private"))
    alice, bob = await make_user("alice"), await make_user("bob")
    hers, his = (
        await caller(api, user=str(alice.pk)),
        await caller(api, user=str(bob.pk)),
    )
    await hers("POST", f"{API}/run", HI)
    run = await Run.objects.aget()
    assert (run.owner, run.user) == (str(alice.pk), str(alice.pk))
    path = f"{API}/conversations/c"
    assert ((await hers("GET", path)).status, (await his("GET", path)).status) == (
        200,
        404,
    )
    await User.objects.filter(pk=alice.pk).aupdate(is_active=False)
    again = await caller(api, user=str(alice.pk))
    refused = await again("GET", path)
    assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
    assert "deactivated" in refused.json["error"]


async def test_a_key_has_the_rights_of_its_scopes(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("secret"))
    reader = await caller(api, scopes=["read"])
    runner = await caller(api, scopes=["run"])
    started = await runner("POST", f"{API}/run", HI)
    assert started.status == 200
    run = f"{API}/runs/{started.json['run_id']}"
    for scoped, method, path in (
        (reader, "POST", f"{API}/run"),
        (reader, "POST", f"{API}/stream"),
        (reader, "POST", f"{run}/cancel"),
        (reader, "DELETE", f"{API}/conversations/c"),
        (runner, "GET", run),
        (runner, "GET", f"{run}/events"),
        (runner, "POST", f"{run}/token"),
        (runner, "GET", f"{API}/conversations"),
    ):
        refused = await scoped(method, path, HI)
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert (await reader("GET", run)).status == 200


async def test_a_key_without_read_resumes_only_runs_of_its_own_body(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("secret"))
    reader, runner = await caller(api), await caller(api, scopes=["run"])
    run_id = (await runner("POST", f"{API}/run", HI)).json["run_id"]

    async def resume(by: Caller) -> int:
        resumed = by.with_headers(**{"Last-Event-ID": f"{run_id}:0"})
        return (await resumed("POST", f"{API}/stream", HI)).status

    assert await resume(runner) == 200
    await Run.objects.aupdate(request_hash="")  # as if Python code had started it
    assert (await resume(reader), await resume(runner)) == (200, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer agk_"},
        {"authorization": f"Bearer agk_0123456789ab_{'x' * 43}"},
        {"authorization": f"Bearer agk_{'x' * 50_000}"},
        {"authorization": "Bearer schlüssel"},
        {"x_api_key": "\x00"},
        {"x_api_key": f"agk_0123456789ab_{'x' * 43}"},
    ],
    ids=lambda headers: str(headers)[:40],
)
async def test_any_other_credentials_are_a_clean_401(
    api: Api, headers: dict[str, str]
) -> None:
    stranger = Caller(api, **headers)
    for method, path in [("GET", f"{API}/conversations"), ("POST", f"{API}/run")]:
        refused = await stranger(method, path, HI)
        assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "agk_" not in refused.body.decode()
    assert not await Run.objects.aexists()


async def test_many_wrong_keys_do_not_lock_a_valid_one_out(api: Api) -> None:
    alice = await caller(api)
    prefix = prefix_of(alice)

    def wrong() -> Iterator[Caller]:
        for _ in range(150):
            yield caller_with(api, NewKey.make())
            yield caller_with(api, NewKey.make(prefix))

    path = f"{API}/conversations"
    flood = [asyncio.create_task(each("GET", path)) for each in wrong()]
    assert (await alice("GET", path)).status == 200
    bodies = {(r.status, r.body) for r in await asyncio.gather(*flood)}
    assert len(bodies) == 1
    assert bodies.pop()[0] == 401
    assert (await alice("GET", path)).status == 200


def well() -> Reply:
    """Return a response that begins, and does not end."""
    return Reply(chat.pieces("Well, "), end="hang")


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of open streams are looked up often."""
    monkeypatch.setattr(revocation, "INTERVAL_SECONDS", 0.05)


async def revoke(prefix: str) -> None:
    await ApiKey.objects.filter(prefix=prefix).aupdate(revoked_at=timezone.now())


async def expire(prefix: str) -> None:
    now = timezone.now()
    await ApiKey.objects.filter(prefix=prefix).aupdate(expires_at=now)


async def delete(prefix: str) -> None:
    await ApiKey.objects.filter(prefix=prefix).adelete()


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("end", [revoke, expire, delete])
async def test_open_streams_end_with_their_key_and_the_run_continues(
    api: Api, upstream: StandInProvider, end: Callable[[str], Awaitable[None]]
) -> None:
    upstream.reply(well())
    alice, other = await caller(api), await caller(api)
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        run = await Run.objects.aget()
        events = f"{API}/runs/{run.id}/events"
        async with other.open("GET", events) as untouched:
            await untouched.until("content")
            await end(prefix_of(alice))
            ended = await stream.end()
            assert ended.frames[-2].data["metadata"]["code"] == "unauthenticated"
            assert not untouched.task.done()
    await run.arefresh_from_db()
    assert not run.has_ended


async def signed(caller: Caller, run_id: str) -> dict[str, Any]:
    """Return the response with a token of a run."""
    response = await caller("POST", f"{API}/runs/{run_id}/token")
    assert response.status == 200
    answer: dict[str, Any] = response.json
    return answer


async def test_a_token_reads_the_events_of_its_run_alone(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("one"), chat.answer("two"))
    alice = await caller(api)
    first = (await alice("POST", f"{API}/run", HI)).json["run_id"]
    second = (await alice("POST", f"{API}/run", HI)).json["run_id"]
    answer = await signed(alice, first)
    token = answer["token"]
    expiry = datetime.fromisoformat(answer["expires_at"])
    assert timedelta(minutes=9) < expiry - timezone.now() <= timedelta(minutes=10)
    stranger = Caller(api)
    read = await stranger("GET", f"{API}/runs/{first}/events?token={token}")
    assert (read.status, read.text) == (200, "one")
    assert token not in repr(read)
    later = f"{API}/runs/{first}/events?after=2&token={quote(token, safe='')}"
    assert (await stranger("GET", later)).status == 200
    for method, path in (
        ("GET", f"{API}/runs/{second}/events"),
        ("GET", f"{API}/runs/x/events"),
        ("GET", f"{API}/runs/{first}"),
        ("POST", f"{API}/runs/{first}/token"),
        ("POST", f"{API}/runs/{first}/cancel"),
        ("GET", f"{API}/conversations"),
        ("POST", f"{API}/run"),
    ):
        refused = await stranger(method, f"{path}?token={token}", HI)
        assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
    as_key = Caller(api, authorization=f"Bearer {token}")
    assert (await as_key("GET", f"{API}/runs/{first}/events")).status == 401


async def test_only_a_caller_who_may_read_the_run_gets_a_token(api: Api) -> None:
    alice = await caller(api)
    missing = await alice("POST", f"{API}/runs/x/token")
    assert (missing.status, missing.json["code"]) == (404, "not_found")


async def test_a_token_expires_ten_minutes_after_the_end_of_its_run(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("one"))
    alice = await caller(api)
    run_id = (await alice("POST", f"{API}/run", HI)).json["run_id"]
    early = timezone.now() - timedelta(minutes=11)
    principal = Principal("acme", credential=f"key:{prefix_of(alice)}")
    token = sign_token(run_id, principal, early)
    path = f"{API}/runs/{run_id}/events?token={token}"
    assert (await Caller(api)("GET", path)).status == 200
    await Run.objects.aupdate(ended_at=early)
    refused = await Caller(api)("GET", path)
    assert (refused.status, refused.json["error"]) == (401, "The token has expired.")


@pytest.mark.usefixtures("_often")
async def test_a_token_ends_with_the_key_that_signed_it(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(well())
    alice, other = await caller(api), await caller(api)
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        run_id = (await Run.objects.aget()).id
        answer = await signed(other, run_id)
        assert answer["expires_at"] is None
        path = f"{API}/runs/{run_id}/events?token={answer['token']}"
        async with Caller(api).open("GET", path) as reading:
            await reading.until("content")
            await revoke(prefix_of(other))
            ended = await reading.end()
            assert ended.frames[-2].data["metadata"]["code"] == "unauthenticated"
        refused = await Caller(api)("GET", path)
        assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
        assert not stream.task.done()


async def log_out(client: AsyncClient, _: User) -> None:
    await client.alogout()


async def change_password(_: AsyncClient, user: User) -> None:
    user.set_password("another")
    await user.asave()


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("end", [log_out, change_password])
async def test_a_token_of_a_session_ends_with_the_session(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    end: Callable[[AsyncClient, User], Awaitable[None]],
) -> None:
    agent_settings(authentication=["streaming.auth.session"])
    upstream.reply(well())
    user = await make_user("alice")
    client = await log_in(user)
    elsewhere = await session_of(api, user)
    alice = Caller(api, **cookies_of(client))
    async with alice.open("POST", f"{API}/stream", HI) as stream:
        await stream.until("content")
        run_id = (await Run.objects.aget()).id
        path = f"{API}/runs/{run_id}/events?token="
        path += (await signed(alice, run_id))["token"]
        session_key = alice.headers["cookie"].partition("=")[2].partition(";")[0]
        assert session_key not in path
        async with Caller(api).open("GET", path) as reading:
            await reading.until("content")
            await end(client, user)
            ended = await reading.end()
            assert ended.frames[-2].data["metadata"]["code"] == "unauthenticated"
        assert (await Caller(api)("GET", path)).status == 401
        # A session of the user on another device ends with the password alone.
        others = await elsewhere("GET", f"{API}/conversations")
        assert others.status == (200 if end is log_out else 401)


async def test_a_failing_view_logs_no_secret(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Run:
        raise RuntimeError("broken")

    monkeypatch.setattr(store, "get_run", fail)
    alice = await caller(api)
    answer = {"token": sign_token("r1", Principal("acme"), timezone.now())}
    secrets = [alice.headers["authorization"][-43:], answer["token"]]
    with caplog.at_level(logging.DEBUG):
        failed = await alice("GET", f"{API}/runs/r1")
        assert (failed.status, failed.json["code"]) == (500, "internal_error")
        path = f"{API}/runs/r1/events?token={answer['token']}"
        assert (await Caller(api)("GET", path)).status == 500
    reports = [
        ExceptionReporter(
            getattr(record, "request", None), *record.exc_info
        ).get_traceback_text()
        for record in caplog.records
        if record.exc_info
    ]
    assert len(reports) >= 2
    logged = "\n".join([*(str(vars(r)) for r in caplog.records), *reports])
    for secret in secrets:
        assert secret not in logged
