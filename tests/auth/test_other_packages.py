"""Authentication classes of Django REST framework and django-ninja, as they are."""

import base64

import pytest
from django.contrib.auth.models import User

from tests.auth.conftest import Caller, make_user
from tests.available import need
from tests.client import API, Api
from tests.conftest import ChangeSettings

LIST = f"{API}/conversations"
REST = "rest_framework.authentication"
NINJA = "tests.auth.ninja_classes"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def rest() -> None:
    """The package is installed."""
    need("drf")


@pytest.fixture
def ninja() -> None:
    """The package is installed."""
    need("ninja")


@pytest.mark.usefixtures("rest")
async def test_a_class_of_rest_framework_authenticates(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=[f"{REST}.BasicAuthentication"])
    alice = await make_user("alice")
    known = Caller(api, authorization=basic("alice", "secret"))
    assert (await known("GET", LIST)).status == 200
    assert (await known("POST", f"{API}/run", {"input": ""})).status == 400
    assert (await Caller(api)("GET", LIST)).status == 401
    wrong = Caller(api, authorization=basic("alice", "wrong"))
    refused = await wrong("GET", LIST)
    assert (refused.status, refused.json) == (
        401,
        {"error": "Invalid username/password.", "code": "unauthenticated"},
    )
    await User.objects.filter(pk=alice.pk).aupdate(is_active=False)
    assert (await known("GET", LIST)).status == 401


@pytest.mark.usefixtures("rest")
async def test_the_session_class_of_rest_framework_needs_the_middleware(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=[f"{REST}.SessionAuthentication"])
    assert (await Caller(api)("GET", LIST)).status == 401


@pytest.mark.usefixtures("ninja")
@pytest.mark.parametrize("name", ["Bearer", "AsyncBearer"])
async def test_a_class_of_ninja_authenticates(
    api: Api, agent_settings: ChangeSettings, name: str
) -> None:
    agent_settings(authentication=[f"{NINJA}.{name}"])
    await make_user("alice")
    known = Caller(api, authorization="Bearer alice")
    assert (await known("GET", LIST)).status == 200
    for header in ({}, {"authorization": "Bearer bob"}, {"authorization": "x"}):
        assert (await Caller(api, **header)("GET", LIST)).status == 401
    refused = await Caller(api, authorization="Bearer revoked")("GET", LIST)
    assert (refused.status, refused.json) == (
        401,
        {"error": "Unauthorized", "code": "unauthenticated"},
    )


@pytest.mark.usefixtures("ninja")
async def test_an_authorization_error_of_ninja_is_forbidden(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=[f"{NINJA}.Bearer"])
    refused = await Caller(api, authorization="Bearer blocked")("GET", LIST)
    assert (refused.status, refused.json) == (
        403,
        {"error": "This user is blocked.", "code": "forbidden"},
    )


@pytest.mark.usefixtures("ninja")
async def test_a_class_of_ninja_may_set_the_user_of_the_request(
    api: Api, agent_settings: ChangeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    await make_user("alice")
    agent_settings(authentication=[f"{NINJA}.Token"])
    assert (await Caller(api, x_token="alice")("GET", LIST)).status == 200
    assert (await Caller(api, x_token="bob")("GET", LIST)).status == 401
    agent_settings(authentication=[f"{NINJA}.Secret"])
    assert (await Caller(api, x_token="wrong")("GET", LIST)).status == 401
    assert (await Caller(api, x_token="secret")("GET", LIST)).status == 500
    assert "expected a Principal, a user or None, and not a bool" in caplog.text


@pytest.mark.usefixtures("ninja")
async def test_the_session_class_of_ninja_needs_its_csrf_token(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=[f"{NINJA}.session"])
    response = await Caller(api)("POST", f"{API}/run", {"input": "Hi"})
    assert (response.status, response.json["code"]) == (403, "forbidden")
