"""Permissions of agents and tools: each kind against each caller."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from streaming.agents.permissions import decide, is_permitted
from streaming.auth import principal_in
from streaming.messages import ToolCallPart
from streaming.principals import ANONYMOUS, Principal
from streaming.tools import Context, Toolbox, tool
from tests.threads import in_thread

pytestmark = pytest.mark.usefixtures("transactional_db")

#: A codename of Django, which migrations create.
CODENAME = "streaming.view_run"


def sync_rule(principal: Principal) -> bool:
    staff = User.objects.filter(is_staff=True)
    return principal.user.isdigit() and staff.filter(pk=principal.user).exists()


async def async_rule(principal: Principal) -> bool:
    await asyncio.sleep(0)
    return principal.org_id == "acme"


class Rule:
    """A callable object whose call is a coroutine."""

    async def __call__(self, principal: Principal) -> bool:
        return False


def make_user(name: str, *codenames: str, **values: Any) -> Principal:  # noqa: ANN401
    user = User.objects.create_user(name, **values)
    for codename in codenames:
        user.user_permissions.add(Permission.objects.get(codename=codename))
    return principal_in("default", str(user.pk), credential=f"user:{user.pk}")


def vouched_for(principal: Principal) -> Principal:
    """Return a gateway's caller with the id that a user of the project has as key."""
    return principal_in(principal.org_id, principal.user)


#: Callers by their names; each is made inside its test.
CALLERS: dict[str, Callable[[], Principal]] = {
    "anonymous": lambda: Principal("default", owner=f"{ANONYMOUS}1"),
    "without user": lambda: Principal("acme"),
    "user": lambda: make_user("alice"),
    "permitted": lambda: make_user("bob", "view_run"),
    "staff": lambda: make_user("carol", is_staff=True),
    "superuser": lambda: make_user("dave", is_superuser=True),
    "inactive": lambda: make_user("erin", is_superuser=True, is_active=False),
    "deleted": lambda: principal_in("default", "999999", credential="user:999999"),
    "of another kind": lambda: principal_in("default", "x", credential="user:x"),
    "of a gateway": lambda: vouched_for(make_user("frank", is_superuser=True)),
}
PERMISSIONS: dict[str, tuple[Any, set[str]]] = {
    "anyone": ("anyone", {*CALLERS}),
    "authenticated": ("authenticated", {*CALLERS} - {"anonymous"}),
    "codename": (CODENAME, {"permitted", "superuser"}),
    "function": (sync_rule, {"staff"}),
    "coroutine": (async_rule, {"without user"}),
    "callable object": (Rule(), set()),
}


@pytest.mark.parametrize("caller", CALLERS)
async def test_the_matrix_of_permissions_and_callers(caller: str) -> None:
    principal = await in_thread(CALLERS[caller])
    permissions = [permission for permission, _ in PERMISSIONS.values()]
    decisions = await decide(permissions, principal)
    expected = {name: caller in callers for name, (_, callers) in PERMISSIONS.items()}
    assert dict(zip(PERMISSIONS, decisions, strict=True)) == expected


async def test_a_revoked_permission_counts_at_once() -> None:
    principal = await in_thread(make_user, "alice", "view_run")
    assert await is_permitted(CODENAME, principal)
    user = await User.objects.aget()
    await user.user_permissions.aclear()
    assert not await is_permitted(CODENAME, principal)


@tool(permission=CODENAME)
def guarded() -> str:
    """Do what only some may do."""
    return "done"


@tool
def free() -> str:
    """Do what all may do."""
    return "done"


TOOLBOX = Toolbox([free, guarded], decide=decide)
CALL = ToolCallPart("1", "guarded", "{}")


async def call(toolbox: Toolbox, principal: Principal) -> tuple[str, bool]:
    context = Context(principal=principal)
    result = await toolbox.call(CALL, context, timeout=5, max_chars=100)
    return result.result, result.is_error


async def test_a_tool_is_hidden_without_its_permission() -> None:
    permitted = await in_thread(make_user, "bob", "view_run")
    for principal, names in (
        (permitted, ["free", "guarded"]),
        (Principal("default"), ["free"]),
    ):
        toolbox = await TOOLBOX.permitted(principal)
        assert [spec.name for spec in toolbox.specs] == names
    hidden = await TOOLBOX.permitted(Principal("default"))
    text, is_error = await call(hidden, Principal("default"))
    assert (text, is_error) == ("There is no such tool. The tools are: free.", True)


async def test_the_permission_is_checked_again_at_the_call() -> None:
    principal = await in_thread(make_user, "bob", "view_run")
    toolbox = await TOOLBOX.permitted(principal)
    assert await call(toolbox, principal) == ("done", False)
    user = await User.objects.aget()
    await user.user_permissions.aclear()
    text, is_error = await call(toolbox, principal)
    assert (text, is_error) == ("The user has no permission to use this tool.", True)


async def test_a_toolbox_that_cannot_decide_permits_nothing() -> None:
    text, is_error = await call(Toolbox([guarded]), Principal("default"))
    assert (text, is_error) == ("The user has no permission to use this tool.", True)


async def test_a_toolbox_without_permissions_is_unchanged() -> None:
    toolbox = Toolbox([free])
    assert await toolbox.permitted(Principal("default")) is toolbox
