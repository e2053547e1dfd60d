"""Bad requests get the contract's JSON error, and nothing is stored."""

import base64
import codecs
import json

import pytest
from django.test import override_settings

from streaming.models import Organization, Run
from tests.client import API, Api
from tests.conftest import ChangeSettings
from tests.cost import hang_guard

#: The limit of a response to a bad request.
RESPONSE_BYTES = 10_000

BAD_BODIES = {
    "empty": (b"", "invalid_json", "body"),
    "not JSON": (b"{input:", "invalid_json", "body"),
    "invalid UTF-8": (b'{"input":"\xff"}', "invalid_json", "body"),
    "lone surrogate": (b'{"input":"\\ud800"}', "invalid_json", "body"),
    "deep nesting": (b"[" * 100_000, "invalid_json", "body"),
    "a list": (b"[]", "invalid_request", "body"),
    "no input": ({}, "invalid_request", "input"),
    "blank input": ({"input": " \n"}, "invalid_request", "input"),
    "input of wrong type": ({"input": 5}, "invalid_request", "input"),
    "NUL in input": ({"input": "a\0"}, "invalid_request", "input"),
    "long input": ({"input": "a" * 100_001}, "invalid_request", "input"),
    "empty org": ({"input": "a", "org_id": ""}, "invalid_request", "org_id"),
    "null org": ({"input": "a", "org_id": None}, "invalid_request", "org_id"),
    "long org": ({"input": "a", "org_id": "x" * 129}, "invalid_request", "org_id"),
    "NUL in org": ({"input": "a", "org_id": "x\0"}, "invalid_request", "org_id"),
    "line end in id": (
        {"input": "a", "conversation_id": "a\nb"},
        "invalid_request",
        "conversation_id",
    ),
    "number as id": (
        {"input": "a", "conversation_id": 7},
        "invalid_request",
        "conversation_id",
    ),
    "text as integer": (
        {"input": "a", "max_iterations": "5"},
        "invalid_request",
        "max_iterations",
    ),
    "boolean as integer": (
        {"input": "a", "max_iterations": True},
        "invalid_request",
        "max_iterations",
    ),
    "no iteration": (
        {"input": "a", "max_iterations": 0},
        "invalid_request",
        "max_iterations",
    ),
    "too many iterations": (
        {"input": "a", "max_iterations": 51},
        "invalid_request",
        "max_iterations",
    ),
    "huge number": (
        b'{"input":"a","max_iterations":' + b"9" * 400 + b"}",
        "invalid_request",
        "max_iterations",
    ),
    "context of wrong type": (
        {"input": "a", "context": []},
        "invalid_request",
        "context",
    ),
    "context values of wrong type": (
        {"input": "a", "context": {"a": 1}},
        "invalid_request",
        "context.a",
    ),
    "NUL in context": (
        {"input": "a", "context": {"a": "\0"}},
        "invalid_request",
        "context.a",
    ),
    "too many context entries": (
        {"input": "a", "context": {str(number): "" for number in range(101)}},
        "invalid_request",
        "context",
    ),
    "too long context value": (
        {"input": "a", "context": {"a": "x" * 100_000}},
        "invalid_request",
        "context",
    ),
    "too long context in all": (
        {"input": "a", "context": {str(n) * 500: "\u00e9" * 700 for n in range(100)}},
        "invalid_request",
        "context",
    ),
    "too long context name": (
        {"input": "a", "context": {"x" * 100_001: ""}},
        "invalid_request",
        "context",
    ),
    "too many events": (
        {"input": "a", "events": ["content"] * 101},
        "invalid_request",
        "events",
    ),
    "unknown event": (
        {"input": "a", "events": ["contents"]},
        "invalid_request",
        "events.0",
    ),
    "background of wrong type": (
        {"input": "a", "background": "yes"},
        "invalid_request",
        "background",
    ),
}


@pytest.mark.parametrize("path", ["run", "stream"])
@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_explained(api: Api, path: str, name: str) -> None:
    body, code, field = BAD_BODIES[name]
    response = await api.post(f"{API}/{path}", body)
    assert response.status == 400, response.body
    assert response.headers["content-type"] == "application/json"
    assert response.json["code"] == code
    assert response.json["error"]
    if code == "invalid_request":
        assert [d["field"] for d in response.json["details"]] == [field]
        assert all(d["message"] for d in response.json["details"])
    assert not await Run.objects.aexists()
    assert not await Organization.objects.aexists()


async def test_all_bad_fields_are_named_at_once(api: Api) -> None:
    response = await api.post(f"{API}/run", {"org_id": "", "max_iterations": 99})
    fields = {detail["field"] for detail in response.json["details"]}
    assert fields == {"input", "org_id", "max_iterations"}


async def test_a_huge_body_is_refused(api: Api) -> None:
    response = await api.post(f"{API}/run", b'{"input":"' + b"a" * 10_000_000 + b'"}')
    assert (response.status, response.json["code"]) == (413, "body_too_large")


async def test_a_huge_body_of_unknown_length_is_refused(api: Api) -> None:
    body = b'{"input":"' + b"a" * 3_000_000 + b'"}'
    response = await api.post(f"{API}/run", body, content_length="")
    assert (response.status, response.json["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", ""]
)
async def test_only_json_is_taken(api: Api, content_type: str) -> None:
    response = await api.post(
        f"{API}/stream", {"input": "a"}, content_type=content_type
    )
    assert (response.status, response.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", f"{API}/run", "POST"),
        ("DELETE", f"{API}/stream", "POST"),
        ("POST", f"{API}/metadata", "GET, HEAD"),
        ("PUT", "/health", "GET, HEAD"),
        ("POST", f"{API}/conversations", "GET, HEAD"),
        ("PATCH", f"{API}/conversations/x", "GET, DELETE, HEAD"),
        ("GET", f"{API}/runs/x/cancel", "POST"),
    ],
)
async def test_a_wrong_method_is_refused(
    api: Api, method: str, path: str, allow: str
) -> None:
    async with api.open(method, path) as stream:
        response = await stream.end()
    assert (response.status, response.json["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == allow


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "path", ["/nothing", f"{API}/nothing", "/health/", "/a/b?c", "/x%0Ay"]
)
async def test_an_unknown_path_is_json(api: Api, path: str, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        response = await api.get(path)
    assert (response.status, response.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("header", "value"),
    [("last_event_id", "nonsense"), ("last_event_id", ":5"), ("last_event_id", "a:-1")],
)
async def test_a_bad_last_event_id_starts_nothing(
    api: Api, header: str, value: str
) -> None:
    response = await api.post(f"{API}/stream", {"input": "a"}, **{header: value})
    assert response.status == 400
    assert response.json["details"][0]["field"] == "Last-Event-ID"
    assert not await Run.objects.aexists()


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "events=foo", "org_id=", "org_id=%00"]
)
async def test_a_bad_query_is_explained(api: Api, query: str) -> None:
    response = await api.get(f"{API}/runs/x/events?{query}")
    assert response.status == 400
    assert response.json["details"][0]["field"].split(".")[0] == query.split("=")[0]


@pytest.mark.parametrize("path", ["/", f"{API}/metadata", f"{API}/runs/x"])
async def test_a_foreign_host_name_is_refused(api: Api, path: str) -> None:
    response = await api.get(path, host="evil.example")
    assert (response.status, response.json["code"]) == (400, "invalid_request")
    assert response.json["details"][0]["field"] == "Host"


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_may_use_any_address(api: Api, path: str) -> None:
    assert (await api.get(path, host="10.1.2.3:8080")).status == 200


async def test_too_many_fields_are_refused(api: Api) -> None:
    query = "&".join(f"a{number}=1" for number in range(2000))
    response = await api.get(f"{API}/runs/x?{query}")
    assert (response.status, response.json["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+23:00|1", "2020-01-01|x", "2020-01-01T00:00|9", "|"]
)
async def test_any_cursor_is_answered(api: Api, text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode()
    response = await api.get(f"{API}/conversations?cursor={cursor}")
    assert response.status in (200, 400)


@pytest.mark.parametrize(
    "path", ["runs/a%00b", "runs/a%00b/events", "conversations/%00"]
)
async def test_a_nul_in_an_id_is_not_found(api: Api, path: str) -> None:
    response = await api.get(f"{API}/{path}")
    assert (response.status, response.json["code"]) == (404, "not_found")


async def test_a_huge_body_is_refused_everywhere(api: Api) -> None:
    response = await api.post("/health", b"a" * 3_000_000)
    assert response.status == 413


#: Bodies whose details would be many or long.
HOSTILE_BODIES = {
    "unknown events": {"input": "a", "events": ["x"] * 150_000},
    "some unknown events": {"input": "a", "events": ["x"] * 100},
    "context of numbers": {"input": "a", "context": {f"{n}": n for n in range(99_999)}},
    "some numbers": {
        "input": "a",
        "context": {"k" * 900 + str(n): n for n in range(99)},
    },
    "a long name": {"input": "a", "context": {"n" * 99_000: 1}},
    "control characters": {
        "input": "a",
        "context": {"\x01\u2028" * 400 + str(n): n for n in range(99)},
    },
    "characters of four bytes": {
        "input": "a",
        "context": {"\U0001f600" * 900 + str(n): 1 for n in range(99)},
    },
    "quotes": {"input": "a", "context": {'"\\' * 400 + str(n): [] for n in range(99)}},
    "all fields": {
        "input": 1,
        "org_id": "",
        "conversation_id": 1,
        "context": {'"' * 900 + str(n): None for n in range(99)},
        "max_iterations": 99,
        "events": [{}] * 99,
        "background": 1,
    },
}


@pytest.mark.parametrize("name", HOSTILE_BODIES)
async def test_the_response_to_a_bad_body_is_small(api: Api, name: str) -> None:
    body = json.dumps(HOSTILE_BODIES[name], ensure_ascii=False).encode()
    with hang_guard():
        response = await api.post(f"{API}/stream", body)
    assert (response.status, response.json["code"]) == (400, "invalid_request")
    assert 1 <= len(response.json["details"]) <= 10
    assert len(response.body) < RESPONSE_BYTES


@pytest.mark.parametrize(
    "path",
    [
        f"{API}/runs/x/events?events=" + ",".join(["unknown"] * 5000),
        f"{API}/conversations?cursor=" + "%22" * 9000,
        f"{API}/conversations?limit=" + "9" * 30_000,
        f"{API}/conversations?search=" + "%F0%9F%98%80" * 4000,
        f"{API}/conversations?org_id=" + "%01" * 9000,
        f"{API}/runs/" + "%01" * 9000,
        "/" + "%F0%9F%98%80" * 4000,
    ],
    ids=lambda path: path[:40],
)
async def test_the_response_to_a_bad_query_is_small(api: Api, path: str) -> None:
    response = await api.get(path)
    assert response.status in (400, 404)
    assert len(response.body) < RESPONSE_BYTES


async def test_the_number_of_further_errors_is_given(api: Api) -> None:
    context = {f"{number:02}": number for number in range(30)}
    response = await api.post(f"{API}/run", {"input": "a", "context": context})
    fields = [detail["field"] for detail in response.json["details"]]
    assert fields == [f"context.{number:02}" for number in range(10)]
    assert response.json["error"].endswith("; and 20 more")


async def test_a_context_at_its_limits_is_accepted(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(agent_max_context_chars=1000)
    context = {f"{number:03}": "1234567" for number in range(100)}
    body = {"input": "2 + 2", "context": context, "events": ["content"] * 100}
    assert (await api.post(f"{API}/run", body)).status == 200
    assert (await Run.objects.aget()).context == context
    context["099"] += "8"
    assert (await api.post(f"{API}/run", body)).status == 400


@pytest.mark.parametrize("path", ["run", "stream"])
async def test_a_bom_before_the_body_is_ignored(api: Api, path: str) -> None:
    body = codecs.BOM_UTF8 + json.dumps({"input": "2 + 2"}).encode()
    response = await api.post(f"{API}/{path}", body)
    assert response.status == 200
    assert (await Run.objects.aget()).input == "2 + 2"


@pytest.mark.parametrize(
    "body",
    [
        codecs.BOM_UTF8,
        codecs.BOM_UTF8 * 2 + b'{"input":"a"}',
        b'{"input":' + codecs.BOM_UTF8 + b'"a"}',
        '\ufeff{"input":"a"}'.encode("utf-16"),
    ],
)
async def test_a_bom_elsewhere_is_not(api: Api, body: bytes) -> None:
    response = await api.post(f"{API}/run", body)
    assert (response.status, response.json["code"]) == (400, "invalid_json")
