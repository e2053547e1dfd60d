"""The users of runs, by the keys that are stored with them."""

from typing import Any

from streaming.auth.revocation import proven_user
from streaming.auth.users import find_users
from streaming.principals import Principal
from streaming.storage import database


class StoredUser:
    """The user of a run, loaded at the first use and kept for the run.

    A run whose stored credential proves no user of the project has none.
    """

    __slots__ = ("_is_loaded", "_key", "_user")

    def __init__(self, principal: Principal) -> None:
        self._key = proven_user(principal)
        self._user: Any = None
        self._is_loaded = not self._key

    def get(self) -> Any:  # noqa: ANN401  (of the project's own class)
        """Return the user, or None if the run has none that is active."""
        if not self._is_loaded:
            self._keep(load_user(self._key))
        return self._user

    async def load(self) -> None:
        """Load the user on a thread for the database, unless that has been done."""
        if not self._is_loaded:
            self._keep(await database.execute_read(load_user, self._key))

    def _keep(self, user: object) -> None:
        self._user = user
        self._is_loaded = True


def load_user(key: str) -> Any:  # noqa: ANN401  (of the project's own class)
    """Return the active user with a primary key as text, or None."""
    user = find_users([key]).get(key)
    return user if user and user.is_active else None
