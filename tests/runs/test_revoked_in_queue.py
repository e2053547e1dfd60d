"""A queued run whose caller has lost access is refused when it is claimed."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from streaming import runs
from streaming.auth.keys.issue import revoke_keys
from streaming.event_log import stored_log
from streaming.models import Run
from streaming.principals import Principal
from streaming.runs import RunRequest
from streaming.runs.worker import REVOKED
from streaming.storage import database
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.auth.keys.rows import make_key
from tests.client import Api, all_runs_end

pytestmark = pytest.mark.usefixtures("model")

Lose = Callable[[], object]


def make_user() -> User:
    """Create a user."""
    return User.objects.create_user("ada")


def key_of_organization() -> tuple[Principal, Lose]:
    """Return the caller of a key, and the revocation of the key."""
    key = make_key()
    caller = Principal("acme", credential=f"key:{key.prefix}")
    return caller, lambda: revoke_keys([key.prefix], "test")


def key_of_user() -> tuple[Principal, Lose]:
    """Return the caller of a user's key, and the deactivation of the user."""
    user = make_user()
    key = make_key(user=str(user.pk))
    caller = Principal("acme", str(user.pk), credential=f"key:{key.prefix}")
    return caller, lambda: User.objects.update(is_active=False)


def session_of_user() -> tuple[Principal, Lose]:
    """Return the caller of a session, and the deletion of the user."""
    user = make_user()
    return Principal("acme", str(user.pk), credential="session:0a1b"), user.delete


def python_for_user() -> tuple[Principal, Lose]:
    """Return the caller for whom Python code enqueues, and the user's deletion."""
    user = make_user()
    return Principal("acme", str(user.pk), credential=f"user:{user.pk}"), user.delete


async def enqueue(caller: Principal) -> str:
    """Enqueue a run of a caller."""
    request = RunRequest(input="Hi", principal=caller, background=True)
    run: Run = await database.execute_write(runs.enqueue, request)
    return run.id


CALLERS = (key_of_organization, key_of_user, session_of_user, python_for_user)


@pytest.mark.parametrize("make", CALLERS, ids=lambda make: make.__name__)
async def test_a_run_of_revoked_credentials_fails_as_forbidden(
    api: Api,
    upstream: StandInProvider,
    make: Callable[[], tuple[Principal, Lose]],
) -> None:
    caller, lose = await database.execute_write(make)
    revoked = await enqueue(caller)
    other = await enqueue(Principal("acme", credential="gateway"))
    await database.execute_write(lose)
    upstream.reply(chat.answer("Hallo"))
    runs.get_service()
    await all_runs_end()
    run = await Run.objects.aget(pk=revoked)
    assert (run.status, run.error_code) == ("failed", "forbidden")
    assert run.error_message == REVOKED
    assert (await Run.objects.aget(pk=other)).status == "completed"
    assert len(upstream.requests) == 1


async def test_a_run_of_valid_credentials_is_executed(
    api: Api, upstream: StandInProvider
) -> None:
    callers = [(await database.execute_write(key_of_organization))[0]]
    user = await User.objects.acreate_user("ada")
    callers += [
        Principal("acme", str(user.pk), credential=credential)
        for credential in ("session:0a1b", f"user:{user.pk}")
    ]
    upstream.reply(*[chat.answer("Hallo")] * len(callers))
    for caller in callers:
        await enqueue(caller)
    runs.get_service()
    await all_runs_end()
    assert {run.status async for run in Run.objects.all()} == {"completed"}


async def test_the_readers_of_a_refused_run_are_told(api: Api) -> None:
    caller, lose = await database.execute_write(key_of_organization)
    revoked = await enqueue(caller)
    await database.execute_write(lose)
    runs.get_service()
    await all_runs_end()
    entries = await database.execute_read(stored_log().read, revoked, 0)
    assert [entry.type for entry in entries] == ["error", "done"]
