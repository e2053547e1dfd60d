"""Decisions on the permissions of callers."""

from collections.abc import Sequence

from streaming.agents.functions import call_function
from streaming.agents.users import load_user
from streaming.auth.revocation import proven_user
from streaming.principals import Principal
from streaming.storage import database
from streaming.tools.permissions import ANYONE, AUTHENTICATED, Permission


async def is_permitted(permission: Permission, principal: Principal) -> bool:
    """Return true if a caller has a permission."""
    [is_permitted] = await decide([permission], principal)
    return is_permitted


async def decide(
    permissions: Sequence[Permission], principal: Principal
) -> Sequence[bool]:
    """Return for each permission whether a caller has it.

    Codenames are looked up each time, so that a revoked permission counts at once.
    """
    names = {each for each in permissions if isinstance(each, str)}
    held = {ANYONE}
    if not principal.is_anonymous:
        held.add(AUTHENTICATED)
    codenames = names - {ANYONE, AUTHENTICATED}
    if codenames and (user := proven_user(principal)):
        held |= await database.execute_read(_held, user, codenames)
    return [
        each in held
        if isinstance(each, str)
        else bool(await call_function(each, principal))
        for each in permissions
    ]


def _held(key: str, codenames: set[str]) -> set[str]:
    """Return the codenames that the user with a primary key has."""
    user = load_user(key)
    return {name for name in codenames if user and user.has_perm(name)}
