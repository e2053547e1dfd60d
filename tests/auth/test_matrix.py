"""Every route is requested as every kind of caller; the documentation has the table."""

import json
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from django.http import HttpRequest

from streaming.agents import registry
from streaming.models import Conversation, Message
from streaming.principals import SCOPES, Principal
from streaming.storage import database
from streaming.testing.provider import StandInProvider
from streaming.urls import urlpatterns
from tests import chat
from tests.auth import matrix
from tests.auth.conftest import TOKEN, Caller, make_user, session_of
from tests.auth.keys.rows import make_key
from tests.client import API, Api, Response
from tests.conftest import ChangeSettings

HERE = __name__
FUNCTIONS = {"organization": f"{HERE}.organization_of"}
CLOSED = ["streaming.auth.session", "streaming.auth.api_key"]
ANONYMOUS = [*CLOSED, "streaming.auth.anonymous"]
OPEN = ["streaming.auth.open"]
QUESTION: dict[str, object] = {"input": "Hi"}
#: The bodies of endpoints that need one.
BODIES: dict[matrix.Route, dict[str, object]] = {
    (f"{API}/run", "POST"): QUESTION,
    (f"{API}/stream", "POST"): QUESTION,
    (f"{API}/runs/{{run_id}}", "PATCH"): QUESTION,
    (f"{API}/runs/{{run_id}}/input", "POST"): QUESTION,
    (f"{API}/conversation", "PATCH"): {"title": "T"},
    (f"{API}/conversation/head", "POST"): {"message_id": "of a message"},
    (f"{API}/conversation/fork", "POST"): {},
    (f"{API}/conversation/queue", "PATCH"): {"order": []},
}
#: The ids of resources that do not exist; each parameter of a path is among them.
MISSING = {"run_id": "x", "conversation_id": "x", "name": "x"}
#: The scope of endpoints that need none, and of those that need the agent's permission.
PUBLIC, PERMISSION = "-", "permission"

pytestmark = pytest.mark.usefixtures("model")


def organization_of(user: Any, request: HttpRequest | None) -> str:  # noqa: ANN401
    """Return the organization of a user: Charlie is outside."""
    return "umbrella" if user.username == "charlie" else "acme"


async def key(request: HttpRequest) -> Principal | None:
    """Authenticate a key of Alice: `Bearer OWNER SCOPE`."""
    _, owner, scope = request.headers.get("Authorization", "  ").split(" ")
    if not owner:
        return None
    return Principal("acme", owner, owner, frozenset({scope}))


@pytest.fixture
async def callers(
    api: Api, agent_settings: ChangeSettings
) -> Callable[[str], Awaitable[tuple[Caller, Caller]]]:
    """Return the owner of the resources, and the caller of a column."""
    agent_settings(**FUNCTIONS)
    users = {name: await make_user(name) for name in ("alice", "bob", "charlie")}
    sessions = {name: await session_of(api, user) for name, user in users.items()}
    alice = sessions["alice"]
    keys = {
        scope: await database.execute_write(
            partial(make_key, user=str(users["alice"].pk), scopes=[scope])
        )
        for scope in ("read", "admin")
    }
    of_column = {
        "none": Caller(api),
        "session, no token": alice.with_headers(x_csrftoken=""),
        "session": alice,
        "colleague": sessions["bob"],
        "stranger": sessions["charlie"],
        "key: read": Caller(api, authorization=f"Bearer {keys['read'].text}"),
        "key: admin": Caller(api, x_api_key=keys["admin"].text),
        "anonymous": Caller(api),
        "open": Caller(api),
    }

    async def find(column: str) -> tuple[Caller, Caller]:
        methods = {"anonymous": ANONYMOUS, "open": OPEN}.get(column, CLOSED)
        agent_settings(authentication=methods, **FUNCTIONS)
        caller = of_column[column]
        if column == "anonymous":
            visited = await caller("GET", f"{API}/conversations")
            caller = Caller(api, cookie=visited.headers["set-cookie"].split(";")[0])
        return caller if column == "open" else alice, caller

    return find


class Column:
    """The requests of one kind of caller, each for new resources of another one."""

    def __init__(
        self, owner: Caller, caller: Caller, upstream: StandInProvider
    ) -> None:
        self.owner = owner
        self.caller = caller
        self._upstream = upstream

    async def request(self, path: str, method: str) -> Response:
        """Send a request that is valid, for an existing resource."""
        self._upstream.reply(chat.answer("Hi"), chat.answer("Hi"))
        await Conversation.objects.all().adelete()
        own = {"input": "Hi", "conversation_id": "c"}
        started = await self.owner("POST", f"{API}/run", own)
        agent = registry.get().default
        values = {
            "run_id": started.json["run_id"],
            "conversation_id": "c",
            "name": agent.name,
        }
        return await send(self.caller, path, method, values)

    async def request_missing(self, path: str, method: str) -> Response:
        """Send the same for a resource that does not exist."""
        return await send(self.caller, path, method, MISSING)


async def send(
    caller: Caller, path: str, method: str, values: dict[str, str]
) -> Response:
    """Send a request of the table, with the ids of resources."""
    url = filled(path, values)
    if re.match(rf"{API}/conversation(/|$)", path):
        url += f"?conversation_id={values['conversation_id']}"
    body = BODIES.get((path, method))
    if body and "message_id" in body:
        message = await Message.objects.afirst()
        body = {"message_id": message.pk if message else 1}
    return await caller(method, url, body)


def filled(path: str, values: dict[str, str]) -> str:
    """Return a path of the table with the ids of resources."""
    if path == matrix.REST:
        return "/api/nothing"
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)


async def test_every_route_is_in_the_table_with_all_its_methods(api: Api) -> None:
    rows = matrix.expected()
    page = Caller(api, cookie=f"csrftoken={TOKEN}", x_csrftoken=TOKEN)
    paths = matrix.paths(urlpatterns)
    assert {path for path, _ in rows} == {*paths}, "routes without rows, or the reverse"
    for path in paths:
        url = filled(path, MISSING)
        for method in matrix.METHODS:
            response = await page(method, url)
            has_row = (path, method) in rows
            assert has_row or response.status in (404, 405), f"{method} {path}"


async def test_each_caller_gets_the_access_of_the_table(
    callers: Callable[[str], Awaitable[tuple[Caller, Caller]]],
    upstream: StandInProvider,
    record_property: Callable[[str, object], None],
) -> None:
    rows = matrix.expected()
    found: dict[matrix.Route, list[str]] = {
        route: [row[0]] for route, row in rows.items()
    }
    for name in matrix.CALLERS:
        owner, caller = await callers(name)
        column = Column(owner, caller, upstream)
        for path, method in rows:
            response = await column.request(path, method)
            found[path, method].append(str(response.status))
            if response.status >= 400 and path.startswith("/api"):
                assert {"error", "code"} <= json.loads(response.body).keys()
            if response.status == 404 and "{" in path:
                # A foreign resource responds like one that does not exist.
                missing = await column.request_missing(path, method)
                assert (response.status, response.body) == (404, missing.body)
    table = matrix.rendered({route: tuple(row) for route, row in found.items()})
    record_property("Access matrix", table)
    assert table == matrix.rendered(rows)


def test_each_row_agrees_with_its_scope() -> None:
    for route, (scope, *cells) in matrix.expected().items():
        cell = dict(zip(matrix.CALLERS, cells, strict=True))
        if scope == PUBLIC:
            assert len({*cells}) == 1, route
        if scope in (PUBLIC, PERMISSION):
            continue
        assert cell["none"] == "401", route
        assert cell["key: read"] == ("403" if scope != "read" else cell["session"])
        assert cell["session, no token"] == (
            cell["session"] if route[1] == "GET" else "403"
        ), route
        assert cell["session"] == cell["key: admin"] == cell["open"], route


async def test_each_endpoint_requires_its_scope(
    api: Api, agent_settings: ChangeSettings, upstream: StandInProvider
) -> None:
    agent_settings(authentication=[f"{HERE}.key"])
    for (path, method), (required, *_) in matrix.expected().items():
        for scope in SCOPES if required in SCOPES else ():
            upstream.reply(chat.answer("Hi"))
            caller = Caller(api, authorization=f"Bearer alice {scope}")
            response = await send(caller, path, method, MISSING)
            refused = scope not in (required, "admin")
            assert (response.status == 403) is refused, f"{method} {path} {scope}"
            if refused:
                sentence = f"These credentials lack the scope {required}."
                assert response.json == {"error": sentence, "code": "forbidden"}
