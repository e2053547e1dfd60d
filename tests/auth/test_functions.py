"""Functions of the project as authenticators, and the function for organizations."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from streaming.auth import chain, principal_of
from streaming.exceptions import Forbidden, Unauthenticated
from streaming.models import Run
from streaming.principals import Principal
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.auth.conftest import Caller, make_user, session_of
from tests.auth.test_session import deactivate, quick  # noqa: F401  (a fixture)
from tests.client import API, Api
from tests.conftest import ChangeSettings

HERE = __name__
LIST = f"{API}/conversations"


def bearer(request: HttpRequest) -> object:
    """Return the user whose name is the token, lazily; refuse `revoked`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        return None
    if token == "revoked":
        raise Unauthenticated("This token is revoked.")
    return SimpleLazyObject(
        lambda: User.objects.filter(username=token).first() or AnonymousUser()
    )


async def abearer(request: HttpRequest) -> object:
    """Return the same user, or a principal for `service`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if token == "service":
        return Principal("acme", scopes=frozenset({"read"}))
    return await User.objects.filter(username=token).afirst() if scheme else None


class Callable:
    """An object with an asynchronous call."""

    async def __call__(self, request: HttpRequest) -> object:
        """Do as the function."""
        return await abearer(request)


instance = Callable()


def misfit(request: HttpRequest) -> Principal:
    """Return a principal that no table could store."""
    values: dict[str, Any] = {
        "number": {"org_id": 7},
        "empty": {"org_id": ""},
        "long": {"org_id": "acme", "user": "x" * 65},
        "nul": {"org_id": "acme", "owner": "\0"},
    }
    return Principal(**values[request.headers["X-Kind"]])


def unusable(request: HttpRequest) -> object:
    """Return neither a principal nor a user."""
    return "alice"


@pytest.mark.parametrize("name", ["bearer", "abearer", "instance"])
async def test_a_function_returns_the_user(
    api: Api, agent_settings: ChangeSettings, name: str
) -> None:
    agent_settings(authentication=[f"{HERE}.{name}"])
    await make_user("alice")
    assert (await Caller(api)("GET", LIST)).status == 401
    known = Caller(api, authorization="Bearer alice")
    assert (await known("GET", LIST)).status == 200
    unknown = Caller(api, authorization="Bearer bob")
    assert (await unknown("GET", LIST)).status == 401


async def test_the_first_authenticator_that_knows_the_caller_decides(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=["streaming.auth.session", f"{HERE}.bearer"])
    alice = await session_of(api, await make_user("alice"))
    assert (await alice("GET", LIST)).status == 200
    both = alice.with_headers(authorization="Bearer revoked")
    assert (await both("GET", LIST)).status == 200
    refused = await Caller(api, authorization="Bearer revoked")("GET", LIST)
    assert refused.json == {
        "error": "This token is revoked.",
        "code": "unauthenticated",
    }


async def test_one_path_may_be_given_as_text(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=f"{HERE}.abearer")
    service = Caller(api, authorization="Bearer service")
    assert (await service("GET", LIST)).status == 200
    refused = await service("POST", f"{API}/run", {"input": "Hi"})
    assert (refused.status, refused.json) == (
        403,
        {"error": "These credentials lack the scope run.", "code": "forbidden"},
    )


async def test_a_function_with_an_unusable_result_is_an_error_of_the_server(
    api: Api, agent_settings: ChangeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    agent_settings(authentication=[f"{HERE}.unusable"])
    response = await Caller(api)("GET", LIST)
    assert (response.status, response.json["code"]) == (500, "internal_error")
    assert "expected a Principal, a user or None, and not a str" in caplog.text


@pytest.mark.parametrize("kind", ["number", "empty", "long", "nul"])
async def test_a_principal_that_cannot_be_stored_is_an_error_of_the_server(
    api: Api,
    agent_settings: ChangeSettings,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    agent_settings(authentication=[f"{HERE}.misfit"])
    response = await Caller(api, x_kind=kind)("POST", f"{API}/run", {"input": "Hi"})
    assert (response.status, response.json["code"]) == (500, "internal_error")
    assert "ValueError: Principal." in caplog.text


@pytest.mark.usefixtures("model", "quick")
async def test_a_stream_ends_with_the_user_of_a_function(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=[f"{HERE}.bearer"])
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    user = await make_user("alice")
    alice = Caller(api, authorization="Bearer alice")
    async with alice.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        assert (await Run.objects.aget()).credential == f"user:{user.pk}"
        await deactivate(user)
        assert (await stream.end()).events[-2:] == ["error", "done"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("streaming.auth.opne", "Did you mean streaming.auth.open?"),
        ("streaming.auth.header", "expected a function of the request, a class of"),
        ("streaming.auth.header()", "missing 1 required positional argument"),
        ("streaming.auth.header('X'", "expected a dotted path, or a call of one with"),
        ("streaming.auth.header(name)", "expected a dotted path, or a call of one"),
        (f"{HERE}.HERE", "expected a function of the request"),
        (f"{HERE}.Callable", "expected a function of the request"),
    ],
)
def test_a_name_that_is_no_authenticator_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as failure:
        chain.load((name,))
    assert str(failure.value).startswith(f"AUTHENTICATION={name!r}: ")
    assert sentence in str(failure.value)


@pytest.mark.parametrize("name", ["open", "anonymous"])
def test_no_name_may_follow_one_that_knows_every_caller(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must be the last of the list"):
        chain.load((f"streaming.auth.{name}", "streaming.auth.session"))
    assert len(chain.load(("streaming.auth.session", f"streaming.auth.{name}"))) == 2


def test_no_name_at_all_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="^AUTHENTICATION is empty"):
        chain.load(())


def by_name(user: Any, request: HttpRequest | None) -> object:  # noqa: ANN401
    """Return an organization for the first letter: an object, its key, or none."""
    asked = request.headers.get("X-Tenant", "") if request else ""
    match user.username[:1]:
        case "a":
            return SimpleNamespace(pk=7)
        case "b":
            return asked or f"tenant-{User.objects.count()}"
        case "d":
            return 8
        case "e":
            return ""
        case "f":
            return SimpleNamespace(pk=None)
        case "g":
            return User.objects.all()
    return None


async def by_name_async(user: Any, request: HttpRequest | None) -> object:  # noqa: ANN401
    """Return a text."""
    return f"async-{user.username}"


async def test_the_organization_comes_from_the_projects_function(
    transactional_db: None, agent_settings: ChangeSettings
) -> None:
    agent_settings(organization=f"{HERE}.by_name")
    alice, bob = await make_user("alice"), await make_user("bob")
    assert (await principal_of(alice)).org_id == "7"
    caller = await principal_of(bob)
    assert (caller.org_id, caller.owner) == ("tenant-2", str(bob.pk))
    assert (await principal_of(await make_user("dora"))).org_id == "8"
    for name in ("charlie", "frank"):
        with pytest.raises(Forbidden, match="belongs to no organization"):
            await principal_of(await make_user(name))
    with pytest.raises(ValueError, match="expected an object or its key"):
        await principal_of(await make_user("grace"))
    with pytest.raises(ValueError, match="ORGANIZATION returned ''"):
        await principal_of(await make_user("eve"))
    agent_settings(organization=f"{HERE}.by_name_async")
    assert (await principal_of(alice)).org_id == "async-alice"


@pytest.mark.usefixtures("session")
async def test_the_function_sees_each_request(
    api: Api, agent_settings: ChangeSettings
) -> None:
    names = ["streaming.auth.session"]
    agent_settings(authentication=names, organization=f"{HERE}.by_name")
    bob = await session_of(api, await make_user("bob"))
    for tenant in ("acme", "umbrella"):
        of_tenant = bob.with_headers(x_tenant=tenant)
        assert (await of_tenant("GET", f"{LIST}?org_id={tenant}")).status == 200
        assert (await of_tenant("GET", f"{LIST}?org_id=other")).status == 403
    charlie = await session_of(api, await make_user("charlie"))
    assert (await charlie("GET", LIST)).status == 403


async def test_a_user_with_a_long_key_is_refused(transactional_db: None) -> None:
    with pytest.raises(Forbidden, match="exceeds 59 characters"):
        await principal_of(SimpleNamespace(pk="x" * 60))
