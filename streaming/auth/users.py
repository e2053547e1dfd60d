"""The project's users by id, and the streams of those who are deleted or deactivated.

Principals that the project's own functions make have no such credential, unless the
function returns a user.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from streaming.auth import revocation
from streaming.principals import Principal

KIND = "user"
#: Keys in one query: SQLite has a limit of parameters.
BATCH = 500


def find_users(ids: Iterable[str]) -> dict[str, Any]:
    """Return the users with these ids, in few queries; the others do not exist."""
    model = get_user_model()
    keys = {}
    for id in ids:
        try:
            keys[model._meta.pk.clean(id, None)] = id
        except ValidationError:
            continue  # no user has such a key
    found: dict[str, Any] = {}
    for batch in batches(keys):
        users = model._default_manager.in_bulk(batch)
        found |= {keys[key]: user for key, user in users.items()}
    return found


def batches(keys: Iterable[Any]) -> Iterable[list[Any]]:
    """Yield keys in lists that one query can take."""
    every = [*keys]
    for start in range(0, len(every), BATCH):
        yield every[start : start + BATCH]


def find_revoked(principals: Sequence[Principal]) -> Collection[str]:
    """Return the credentials whose users are deleted or not active."""
    users = find_users(principal.user for principal in principals)
    return {
        principal.credential
        for principal in principals
        if not getattr(users.get(principal.user), "is_active", principal.user in users)
    }


def connect() -> None:
    """Watch the users of open streams."""
    revocation.register(KIND, find_revoked, proves_user=True)
