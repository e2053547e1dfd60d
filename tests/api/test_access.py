"""The authentication port: one function, called once, decides for every endpoint."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncRequestFactory
from django.urls import URLPattern

import streaming.api
from streaming.api.schemas import OrgQuery, query, run_body
from streaming.auth.chain import authenticate
from streaming.auth.opened import organization_from_request
from streaming.auth.requests import declare_input
from streaming.exceptions import InvalidJson, InvalidRequest, Unauthenticated
from streaming.models import Run
from streaming.principals import Principal
from streaming.testing.provider import StandInProvider
from streaming.urls import urlpatterns
from tests import chat
from tests.client import API, Api
from tests.conftest import ChangeSettings

#: Endpoints that any caller may use.
PUBLIC = {
    "index",
    "favicon",
    "health",
    "ready",
    "metadata",
    "metrics",  # with a token of its own
    "selftest",
    "not-found",
}


calls: list[str] = []


async def member(request: HttpRequest) -> Principal:
    """Authenticate by a header: `user@organization`."""
    calls.append(request.path)
    user, _, org_id = request.headers.get("X-Member", "").partition("@")
    if not org_id:
        raise Unauthenticated
    return Principal(org_id, user)


@pytest.fixture
def members(agent_settings: ChangeSettings) -> None:
    """The API authenticates by the header."""
    calls.clear()
    agent_settings(authentication=f"{__name__}.member")


class Caller:
    """A client of the API that sends its header."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.headers = {"x_member": name} if name else {}

    async def __call__(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        calls.clear()
        async with self.api.open(method, path, body, self.headers) as stream:
            return await stream.end()


HI = {"input": "Hi", "conversation_id": "c"}


def requests(run_id: str, conversation_id: str) -> Iterator[tuple[str, str]]:
    """Requests for a run and a conversation."""
    yield "GET", f"{API}/runs/{run_id}"
    yield "GET", f"{API}/runs/{run_id}/events"
    yield "POST", f"{API}/runs/{run_id}/cancel"
    yield "GET", f"{API}/conversations/{conversation_id}"
    yield "DELETE", f"{API}/conversations/{conversation_id}"


@pytest.mark.usefixtures("model", "members")
async def test_the_authenticator_decides_and_not_the_request(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("secret"))
    alice, charlie = Caller(api, "alice@acme"), Caller(api, "charlie@umbrella")
    named = await alice("POST", f"{API}/run", HI | {"org_id": "umbrella"})
    assert (named.status, named.json["code"]) == (403, "forbidden")
    assert named.json["error"].startswith("org_id: ")
    started = await alice("POST", f"{API}/run", HI | {"org_id": "acme"})
    assert calls == [f"{API}/run"]
    assert started.json["org_id"] == "acme"
    run_id = started.json["run_id"]
    own = await alice("GET", f"{API}/conversations?org_id=acme")
    foreign = await charlie("GET", f"{API}/conversations")
    listed = [c["conversation_id"] for c in own.json["conversations"]]
    assert (listed, foreign.json["conversations"]) == (["c"], [])
    for method, path in requests(run_id, "c"):
        refused = await charlie(method, f"{path}?org_id=acme")
        assert calls == [path]
        assert refused.status == 403
    for (method, path), (_, unknown) in zip(
        requests(run_id, "c"), requests("x", "d"), strict=True
    ):
        refused = await charlie(method, path)
        assert refused.body == (await charlie(method, unknown)).body
        assert refused.status == 404
    last_event_id = {"last_event_id": f"{run_id}:1", **charlie.headers}
    resumed = await api.post(f"{API}/stream", HI, **last_event_id)
    assert resumed.status == 404
    for method, path in requests(run_id, "c"):
        assert (await alice(method, path)).status in (200, 204)


@pytest.mark.usefixtures("members")
async def test_a_refusal_is_the_response_and_nothing_is_done(api: Api) -> None:
    stranger = Caller(api, "")
    starts = [("POST", f"{API}/{name}") for name in ("run", "stream")]
    lists = [("GET", f"{API}/conversations")]
    for method, path in (*starts, *lists, *requests("x", "c")):
        # Before its input is read: a bad body or query is not explained to a stranger.
        response = await stranger(method, f"{path}?org_id=", b"{")
        assert (response.status, response.json["code"]) == (401, "unauthenticated")
        assert calls == [path]
    assert not await Run.objects.aexists()


@pytest.mark.usefixtures("members")
async def test_the_input_is_read_after_the_authentication(api: Api) -> None:
    alice = Caller(api, "alice@acme")
    bad = await alice("POST", f"{API}/run", {"input": ""})
    assert (bad.status, bad.json["details"][0]["field"]) == (400, "input")
    bad = await alice("GET", f"{API}/conversations?limit=0")
    assert (bad.status, bad.json["details"][0]["field"]) == (400, "limit")


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize("path", ["/health", "/ready", f"{API}/metadata", "/nothing"])
async def test_public_endpoints_authenticate_nobody(api: Api, path: str) -> None:
    response = await Caller(api, "")("GET", path)
    assert response.status in (200, 404)
    assert calls == []


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize("pattern", urlpatterns, ids=lambda each: str(each.name))
async def test_every_endpoint_is_authenticated_or_public(
    api: Api, pattern: URLPattern
) -> None:
    view: Any = pattern.callback
    for method in ("GET", "POST", "PATCH", "DELETE"):
        request = AsyncRequestFactory().generic(method, "/", HTTP_HOST="localhost")
        await view(request, **dict.fromkeys(pattern.pattern.converters, "x"))
    assert bool(calls) is (pattern.name not in PUBLIC)


async def test_under_open_a_request_names_its_organization() -> None:
    factory = AsyncRequestFactory()
    in_query = factory.get("/?org_id=acme")
    declare_input(in_query, query(OrgQuery))
    assert await authenticate(in_query) == Principal("acme")
    body = '{"input": "Hi", "org_id": "acme"}'
    in_body = factory.post("/?org_id=other", body, content_type="application/json")
    declare_input(in_body, run_body)
    assert await organization_from_request(in_body) == Principal("acme")
    without = factory.get("/")
    declare_input(without, query(OrgQuery))
    assert await organization_from_request(without) == Principal("default")


async def test_under_open_a_bad_input_is_refused_as_such() -> None:
    factory = AsyncRequestFactory()
    request = factory.get("/?org_id=")
    declare_input(request, query(OrgQuery))
    with pytest.raises(InvalidRequest) as refused:
        await authenticate(request)
    assert [detail.field for detail in refused.value.details] == ["org_id"]
    request = factory.post("/", "{", content_type="application/json")
    declare_input(request, run_body)
    with pytest.raises(InvalidJson):
        await authenticate(request)


#: Modules that hold an organization's id for the wire.
INPUT = {"schemas.py"}
#: Where else an `org_id` may be read from: the caller, and a row of the database.
OWNERS = {"principal", "organization"}


def test_no_view_reads_the_organization_from_a_request() -> None:
    [directory] = streaming.api.__path__
    for path in sorted(Path(directory).glob("*.py")):
        if path.name in INPUT:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "org_id":
                owner = node.value
                name = getattr(owner, "id", getattr(owner, "attr", ""))
                assert name in OWNERS, f"{path.name}:{node.lineno} reads {name}.org_id"
            if isinstance(node, ast.Subscript | ast.Call):
                keys = [getattr(node, "slice", None), *getattr(node, "args", ())]
                for key in keys:
                    assert not (
                        isinstance(key, ast.Constant) and key.value == "org_id"
                    ), f"{path.name}:{node.lineno} reads org_id"
