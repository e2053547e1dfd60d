"""The caller of a run from Python is that of the same user over HTTP."""

from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from streaming import Agent
from streaming.auth.organizations import principal_of
from streaming.exceptions import Forbidden, InvalidRequest
from streaming.models import Run
from streaming.principals import Principal
from streaming.testing import scripted
from tests.conftest import ChangeSettings


def group_of(user: User, request: object) -> Group | None:
    """Return the organization of a user of the project."""
    return user.groups.first()


async def domain_of(user: User, request: object) -> str:
    """Return the organization of a user, asynchronously."""
    return user.email.partition("@")[2]


def ask(agent: Agent, **options: Any) -> Principal:  # noqa: ANN401
    """Return the caller of a run."""
    with agent.override(model=scripted("Hi")):
        run = agent.run_sync("Hi", **options)
    row = Run.objects.select_related("organization").get(pk=run.id)
    return Principal(
        row.organization.org_id, row.user, row.owner, credential=row.credential
    )


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("share", ["user", "organization"])
@pytest.mark.parametrize("function", ["", "group_of", "domain_of"])
async def test_the_caller_is_that_of_a_request(
    shop: ModuleType, agent_settings: ChangeSettings, share: str, function: str
) -> None:
    path = f"{__name__}.{function}" if function else ""
    agent_settings(share=share, organization=path)
    user = await User.objects.acreate(username="alice", email="alice@acme.test")
    group = await Group.objects.acreate(name="acme")
    await user.groups.aadd(group)
    with shop.support.override(model=scripted("Hi")):
        run = await shop.support.run("Hi", user=user)
    row = await Run.objects.select_related("organization").aget(pk=run.id)
    expected = {"": "default", "group_of": str(group.pk), "domain_of": "acme.test"}
    assert row.organization.org_id == expected[function]
    assert row.owner == ("" if share == "organization" else str(user.pk))
    principal = await principal_of(user)
    assert (row.user, row.owner) == (principal.user, principal.owner)
    assert row.credential == principal.credential


@pytest.mark.django_db
def test_an_organization_may_be_given_as_its_object_or_key(
    shop: ModuleType, agent_settings: ChangeSettings
) -> None:
    agent_settings(organization=f"{__name__}.group_of")
    group = Group.objects.create(name="acme")
    user = User.objects.create(username="alice")
    for given in (group, group.pk, str(group.pk)):
        assert ask(shop.support, user=user, organization=given).org_id == str(group.pk)
    assert ask(shop.support, organization="umbrella") == Principal("umbrella")
    assert ask(shop.support) == Principal("default")
    with pytest.raises(Forbidden, match="no organization"):
        ask(shop.support, user=user)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "options",
    [
        {"user": User()},
        {"user": "alice"},
        {"organization": ""},
        {"organization": "x" * 129},
        {"organization": Group(name="acme")},
    ],
)
def test_no_run_starts_for_an_unknown_caller(
    shop: ModuleType, options: dict[str, Any]
) -> None:
    [field] = options
    with pytest.raises(InvalidRequest, match=field):
        ask(shop.support, **options)
    assert not Run.objects.exists()
