"""The users who are logged in by sessions: many sessions in few queries."""

from collections.abc import Collection, Iterator, Mapping
from hmac import compare_digest
from importlib import import_module
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    load_backend,
)
from django.contrib.sessions.backends import cache, cached_db, db
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import caches
from django.utils import timezone

from streaming.auth.users import batches, find_users

#: The longest key that caches accept, with their prefixes.
MAX_CACHE_KEY_CHARS = 150


class Login(NamedTuple):
    """A user who is logged in, and the session's data."""

    user: Any
    data: Mapping[str, Any]


def find_logins(keys: Collection[str]) -> dict[str, Login]:
    """Return the logins of those of the sessions that are valid. Writes nothing."""
    sessions = {
        key: data for key, data in _sessions(keys) if data.get(BACKEND_SESSION_KEY)
    }
    users: dict[tuple[str, str], Any] = {}
    for path in {data[BACKEND_SESSION_KEY] for data in sessions.values()}:
        if path in settings.AUTHENTICATION_BACKENDS:
            ids = {
                str(data[SESSION_KEY])
                for data in sessions.values()
                if data[BACKEND_SESSION_KEY] == path and SESSION_KEY in data
            }
            users |= {(path, id): user for id, user in _users(path, ids)}
    logins = {}
    for key, data in sessions.items():
        user = users.get((data[BACKEND_SESSION_KEY], str(data.get(SESSION_KEY))))
        if user is not None and _is_verified(user, data):
            logins[key] = Login(user, data)
    return logins


def session_store() -> type[SessionBase]:
    """Return the class of the project's sessions."""
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


def _sessions(keys: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the data of sessions, in one query if the engine is one of Django's."""
    store = session_store()
    load = getattr(store, "load", None)
    if load is db.SessionStore.load:
        yield from _database_sessions(store, keys)
        return
    rest = set(keys)
    if load in (cache.SessionStore.load, cached_db.SessionStore.load):
        found = dict(_cached_sessions(store, keys))
        yield from found.items()
        rest = set() if load is cache.SessionStore.load else rest - found.keys()
    for key in rest:
        yield key, store(key).load()


def _database_sessions(
    store: Any,  # noqa: ANN401  (a subclass of Django's, or of another package)
    keys: Collection[str],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for batch in batches(keys):
        rows = store.get_model_class().objects.filter(
            session_key__in=batch, expire_date__gt=timezone.now()
        )
        for key, data in rows.values_list("session_key", "session_data"):
            yield key, store().decode(data)


def _cached_sessions(
    store: Any,  # noqa: ANN401  (the same)
    keys: Collection[str],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    names = {
        store.cache_key_prefix + key: key
        for key in keys
        if len(key) <= MAX_CACHE_KEY_CHARS
    }
    found = caches[settings.SESSION_CACHE_ALIAS].get_many([*names])
    for name, data in found.items():
        yield names[name], data


def _users(path: str, ids: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield the users of a backend by id; those who may not log in are left out."""
    # Its module needs the models of django.contrib.auth, which a project without
    # sessions has not installed.
    from django.contrib.auth.backends import ModelBackend

    backend: Any = load_backend(path)
    if getattr(type(backend), "get_user", None) is ModelBackend.get_user:
        for id, user in find_users(ids).items():
            if backend.user_can_authenticate(user):
                yield id, user
    else:
        yield from ((id, backend.get_user(id)) for id in ids)


def _is_verified(user: Any, data: Mapping[str, Any]) -> bool:  # noqa: ANN401
    """Return whether the user's password is that of the login."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    hash = data.get(HASH_SESSION_KEY) or ""
    fallbacks = getattr(user, "get_session_auth_fallback_hash", tuple)
    return bool(hash) and any(
        compare_digest(hash.encode(), valid.encode())
        for valid in (user.get_session_auth_hash(), *fallbacks())
    )
