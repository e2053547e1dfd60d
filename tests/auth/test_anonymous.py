"""Callers without credentials, each with conversations of its own."""

from collections.abc import Iterator

import pytest
from django.test import override_settings

from streaming.auth import chain
from streaming.models import Conversation, Run
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.auth.conftest import Caller, make_user, session_of
from tests.client import API, Api, Response
from tests.conftest import ChangeSettings

HI = {"input": "Hi", "conversation_id": "c"}
COOKIE = "streaming_anonymous"


@pytest.fixture(autouse=True)
def anonymous(model: None, agent_settings: ChangeSettings) -> None:
    """Sessions, and callers without one; colleagues share their conversations."""
    names = ["streaming.auth.session", "streaming.auth.anonymous"]
    agent_settings(authentication=names, share="organization")


def cookie_in(response: Response) -> str:
    [cookie] = response.headers["set-cookie"].split(";")[:1]
    assert cookie.startswith(f"{COOKIE}=")
    return cookie


async def test_a_signed_cookie_owns_the_conversations_of_a_browser(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("Hi")] * 3)
    first = await Caller(api)("POST", f"{API}/run", HI)
    attributes = first.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=31536000"):
        assert attribute in attributes
    assert "Secure" not in attributes
    known = Caller(api, cookie=cookie_in(first))
    again = await known("GET", f"{API}/conversations")
    assert "set-cookie" not in again.headers
    assert len(again.json["conversations"]) == 1
    # The same name of a conversation is another one for each of the others.
    alice = await session_of(api, await make_user("alice"))
    assert (await Caller(api)("POST", f"{API}/run", HI)).status == 200
    assert (await alice("POST", f"{API}/run", HI)).status == 200
    owners = [o async for o in Conversation.objects.values_list("owner", flat=True)]
    assert len(set(owners)) == 3
    assert sorted(owner[:5] for owner in owners) == ["", "anon:", "anon:"]


async def test_the_page_sets_the_cookie_before_its_requests(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=["streaming.auth.anonymous"])
    page = await api.get("/")
    known = Caller(api, cookie=cookie_in(page))
    listed = await known("GET", f"{API}/conversations")
    assert (listed.status, "set-cookie" in listed.headers) == (200, False)


async def test_the_cookie_is_secure_over_tls(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hi"))
    proxy = ("HTTP_X_FORWARDED_PROTO", "https")
    with override_settings(SECURE_PROXY_SSL_HEADER=proxy):
        caller = Caller(api, x_forwarded_proto="https")
        response = await caller("POST", f"{API}/run", HI)
    assert "Secure" in response.headers["set-cookie"]


async def test_a_stream_sets_the_cookie_as_well(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hi"))
    response = await Caller(api)("POST", f"{API}/stream", HI)
    known = Caller(api, cookie=cookie_in(response))
    run = await Run.objects.aget()
    assert (await known("GET", f"{API}/runs/{run.id}")).status == 200
    assert (await Caller(api)("GET", f"{API}/runs/{run.id}")).status == 404


async def test_a_forged_cookie_is_a_new_caller(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hi"))
    genuine = cookie_in(await Caller(api)("POST", f"{API}/run", HI))
    name, rest = genuine.split(":", 1)
    for forged in (f"{name}x:{rest}", f"{COOKIE}=anon", f"{COOKIE}=", "other=1"):
        response = await Caller(api, cookie=forged)("GET", f"{API}/conversations")
        assert response.json["conversations"] == []
        assert cookie_in(response) != genuine


async def test_an_anonymous_caller_deletes_nothing(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hi"))
    known = Caller(api, cookie=cookie_in(await Caller(api)("POST", f"{API}/run", HI)))
    refused = await known("DELETE", f"{API}/conversations/c")
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert "admin" in refused.json["error"]
    assert await Conversation.objects.aexists()


@pytest.fixture
def rule() -> Iterator[list[bool]]:
    """A rule that admits anonymous callers, as an agent's declaration is one."""
    admits = [True]
    chain.admit_anonymous_if(lambda: admits[0])
    yield admits
    chain._anonymous_rules.pop()


@pytest.mark.usefixtures("session")
async def test_a_rule_admits_anonymous_callers(api: Api, rule: list[bool]) -> None:
    listed = f"{API}/conversations"
    assert (await Caller(api)("GET", listed)).status == 200
    rule[0] = False
    assert (await Caller(api)("GET", listed)).status == 401
