"""The stored keys as requests are compared with them, without the ORM's rows."""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from django.utils import timezone

from streaming.auth import revocation
from streaming.auth.organizations import principal_in
from streaming.auth.users import find_users
from streaming.models import ApiKey
from streaming.principals import Principal

#: The kind of the credential of a key.
KIND = "key"
REVOKED = "This API key was revoked."
EXPIRED = "This API key has expired."
USER_GONE = "The user of this API key was deleted or deactivated."


class KeyRecord(msgspec.Struct, frozen=True):
    """A stored key: its principal, and the times that decide about its use."""

    prefix: str
    secret_hash: str
    principal: Principal
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    #: False: the key acts for a user who was deleted or deactivated.
    has_active_user: bool

    def refusal(self, now: datetime) -> str:
        """Return the reason for which the key is refused; empty: it is accepted."""
        if self.revoked_at:
            return REVOKED
        if self.expires_at and self.expires_at <= now:
            return EXPIRED
        return "" if self.has_active_user else USER_GONE


def load_keys(prefixes: Collection[str]) -> dict[str, KeyRecord]:
    """Return the keys with these prefixes, in one query and one for their users."""
    rows = ApiKey.objects.filter(prefix__in=prefixes).select_related("organization")
    keys = list(rows)
    active = active_users({key.user for key in keys if key.user}) | {""}
    return {key.prefix: _record(key, active) for key in keys}


def find_revoked(principals: Sequence[Principal]) -> Collection[str]:
    """Return the credentials whose keys are refused by now, or do not exist."""
    now = timezone.now()
    credentials = [principal.credential for principal in principals]
    found = load_keys([each.removeprefix(f"{KIND}:") for each in credentials])
    valid = {f"{KIND}:{key.prefix}" for key in found.values() if not key.refusal(now)}
    return set(credentials) - valid


def active_users(ids: Collection[str]) -> set[str]:
    """Return those of some primary keys, as text, that belong to active users."""
    users = find_users(ids) if ids else {}
    return {id for id, user in users.items() if getattr(user, "is_active", True)}


def connect() -> None:
    """Watch the keys of open streams."""
    revocation.register(KIND, find_revoked, proves_user=True)


def _record(key: ApiKey, active: Collection[str]) -> KeyRecord:
    return KeyRecord(
        prefix=key.prefix,
        secret_hash=key.secret_hash,
        principal=principal_in(
            key.organization.org_id,
            key.user,
            scopes=frozenset(key.scopes),
            credential=f"{KIND}:{key.prefix}",
        ),
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        has_active_user=key.user in active,
    )
