"""The lookup of keys: cached, joined, bounded, and equal for all wrong keys."""

import asyncio
import hmac
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.utils import timezone

from streaming.auth.keys import directory as module
from streaming.auth.keys.directory import BATCH, KeyDirectory
from streaming.auth.keys.headers import INVALID
from streaming.auth.keys.material import KeyProof, NewKey, new_prefix, prove
from streaming.auth.keys.records import (
    EXPIRED,
    REVOKED,
    USER_GONE,
    KeyRecord,
    active_users,
    find_revoked,
    load_keys,
)
from streaming.auth.keys.usage import REFUSED, KeyUsage, save_refusals, save_uses
from streaming.exceptions import Unauthenticated
from streaming.models import ApiKey, AuditRecord
from streaming.principals import Principal
from streaming.storage import database
from tests.auth.keys.rows import make_key
from tests.client import SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


class Loads:
    """Loads keys, and keeps the prefixes of each query."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.error: Exception | None = None

    def __call__(self, prefixes: Collection[str]) -> Mapping[str, KeyRecord]:
        self.calls.append([*prefixes])
        if self.error:
            raise self.error
        return load_keys(prefixes)


def make_directory(loads: Loads, **options: Any) -> KeyDirectory:  # noqa: ANN401
    usage = KeyUsage(database.default, delay=0.01)
    return KeyDirectory(database.default, load=loads, usage=usage, **options)


def wrong(prefix: str) -> KeyProof:
    """Return a proof with another secret."""
    return KeyProof(prefix, NewKey.make().secret_hash)


@pytest.fixture
async def key() -> NewKey:
    """A key of organization acme."""
    return await database.execute_write(make_key)


async def refusal(directory: KeyDirectory, proof: KeyProof) -> str:
    """Return the message with which a proof is refused."""
    with pytest.raises(Unauthenticated) as refused:
        await directory.authenticate(proof)
    return refused.value.message


async def test_a_known_key_needs_no_query(key: NewKey) -> None:
    loads = Loads()
    directory = make_directory(loads)
    principals = [await directory.authenticate(prove(key.text)) for _ in range(50)]
    assert set(principals) == {
        Principal("acme", credential=f"key:{key.prefix}", scopes=frozenset({"admin"}))
    }
    assert loads.calls == [[key.prefix]]


async def test_requests_that_arrive_together_join_one_lookup(key: NewKey) -> None:
    loads = Loads()
    directory = make_directory(loads)
    calls = (directory.authenticate(prove(key.text)) for _ in range(100))
    assert len(set(await asyncio.gather(*calls))) == 1
    assert loads.calls == [[key.prefix]]


async def test_a_cancelled_request_does_not_cancel_the_lookup_of_others(
    key: NewKey,
) -> None:
    directory = make_directory(Loads())
    first = asyncio.create_task(directory.authenticate(prove(key.text)))
    second = asyncio.create_task(directory.authenticate(prove(key.text)))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).org_id == "acme"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_unknown_prefixes_and_wrong_secrets_are_compared_alike(
    key: NewKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[tuple[int, int]] = []

    def compare(expected: str, given: str) -> bool:
        lengths.append((len(expected), len(given)))
        return hmac.compare_digest(expected, given)

    monkeypatch.setattr(module, "compare_digest", compare)
    directory = make_directory(Loads())
    answers = {
        await refusal(directory, wrong(key.prefix)),
        await refusal(directory, wrong(new_prefix())),
    }
    assert answers == {"The API key is not valid."}
    assert lengths == [(64, 64)] * 2


async def test_a_flood_of_wrong_keys_is_bounded_and_delays_no_valid_one(
    key: NewKey,
) -> None:
    loads = Loads()
    directory = make_directory(loads, max_unknown=500, seconds=60.0)
    await directory.authenticate(prove(key.text))
    flood = [
        asyncio.create_task(refusal(directory, wrong(new_prefix())))
        for _ in range(10_000)
    ]
    for _ in range(10):
        await directory.authenticate(prove(key.text))  # needs no lookup
    await asyncio.gather(*flood)
    lookups = loads.calls[1:]
    assert all(len(batch) <= BATCH for batch in lookups)
    assert len(lookups) <= 10_000 // BATCH + 2
    assert len(directory._unknown._values) == 500
    assert key.prefix in directory._known


async def test_a_key_that_was_known_is_looked_up_before_the_flood(key: NewKey) -> None:
    loads = Loads()
    directory = make_directory(loads, seconds=0.0)
    await directory.authenticate(prove(key.text))
    flood = [
        asyncio.create_task(refusal(directory, wrong(new_prefix())))
        for _ in range(BATCH * 3)
    ]
    await asyncio.sleep(0)
    await directory.authenticate(prove(key.text))
    assert not all(task.done() for task in flood)
    await asyncio.gather(*flood)


async def test_wrong_secrets_for_a_known_prefix_lock_no_one_out(key: NewKey) -> None:
    loads = Loads()
    directory = make_directory(loads, seconds=60.0)
    for _ in range(200):
        await refusal(directory, wrong(key.prefix))
    assert (await directory.authenticate(prove(key.text))).org_id == "acme"
    assert len(loads.calls) == 1


async def test_a_failed_lookup_is_an_error_for_its_requests_and_is_repeated(
    key: NewKey,
) -> None:
    loads = Loads()
    directory = make_directory(loads)
    loads.error = OperationalError("gone")
    calls = (directory.authenticate(prove(key.text)) for _ in range(3))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [OperationalError] * 3
    loads.error = None
    assert (await directory.authenticate(prove(key.text))).org_id == "acme"


async def test_a_revoked_or_expired_key_is_refused_with_the_reason() -> None:
    now = timezone.now()
    revoked = await database.execute_write(lambda: make_key(revoked_at=now))
    expired = await database.execute_write(lambda: make_key(expires_at=now))
    directory = make_directory(Loads())
    assert await refusal(directory, prove(revoked.text)) == REVOKED
    assert await refusal(directory, prove(expired.text)) == EXPIRED
    # Another secret learns nothing of this.
    assert await refusal(directory, wrong(revoked.prefix)) == INVALID


async def test_a_revocation_takes_effect_when_the_cached_key_expires(
    key: NewKey,
) -> None:
    directory = make_directory(Loads(), seconds=0.05)
    await directory.authenticate(prove(key.text))
    await ApiKey.objects.aupdate(revoked_at=timezone.now())
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await directory.authenticate(prove(key.text))
            except Unauthenticated as error:
                assert error.message == REVOKED
                break
            await asyncio.sleep(0.01)


async def test_a_key_of_a_deleted_or_deactivated_user_is_refused() -> None:
    user = await User.objects.acreate(username="alice")
    key = await database.execute_write(lambda: make_key(user=str(user.pk)))
    directory = make_directory(Loads(), seconds=0.0)
    principal = await directory.authenticate(prove(key.text))
    assert (principal.user, principal.owner) == (str(user.pk), str(user.pk))
    await User.objects.aupdate(is_active=False)
    assert await refusal(directory, prove(key.text)) == USER_GONE
    await User.objects.aupdate(is_active=True)
    await directory.authenticate(prove(key.text))
    await User.objects.all().adelete()
    assert await refusal(directory, prove(key.text)) == USER_GONE


async def test_the_last_use_is_written_once_a_minute(key: NewKey) -> None:
    directory = make_directory(Loads(), seconds=0.0)
    await directory.authenticate(prove(key.text))
    async with asyncio.timeout(SECONDS):
        while (row := await ApiKey.objects.aget()).last_used_at is None:  # noqa: ASYNC110  (the database has no event)
            await asyncio.sleep(0.01)
    used = row.last_used_at
    await directory.authenticate(prove(key.text))
    assert not directory._usage._used  # not noted again
    await database.execute_write(save_uses, {key.prefix})  # as another process
    assert (await ApiKey.objects.aget()).last_used_at == used
    early = timezone.now() - timedelta(minutes=2)
    await ApiKey.objects.aupdate(last_used_at=early)
    await database.execute_write(save_uses, {key.prefix})
    written = (await ApiKey.objects.aget()).last_used_at
    assert written and written > early


async def test_the_use_of_a_refused_key_is_recorded_once_an_hour() -> None:
    now = timezone.now()
    key = await database.execute_write(lambda: make_key(expires_at=now))
    directory = make_directory(Loads(), seconds=0.0)
    for _ in range(5):
        await refusal(directory, prove(key.text))
        await refusal(directory, wrong(key.prefix))
    async with asyncio.timeout(SECONDS):
        while not await AuditRecord.objects.aexists():  # noqa: ASYNC110  (the same)
            await asyncio.sleep(0.01)
    reasons = {(key.prefix, "acme"): EXPIRED}
    await database.execute_write(save_refusals, reasons)
    record = await AuditRecord.objects.aget()
    assert (record.action, record.actor) == (REFUSED, f"key:{key.prefix}")
    assert (record.org_id, record.details) == ("acme", {"reason": EXPIRED})
    await AuditRecord.objects.aupdate(at=now - timedelta(hours=2))
    await database.execute_write(save_refusals, reasons)
    assert await AuditRecord.objects.acount() == 2


async def test_refused_keys_are_found_for_open_streams(key: NewKey) -> None:
    late = timezone.now() - timedelta(seconds=1)
    expired = await database.execute_write(lambda: make_key(expires_at=late))
    missing = new_prefix()
    given = [
        Principal("acme", credential=f"key:{prefix}")
        for prefix in (key.prefix, expired.prefix, missing)
    ]
    found = await database.execute_read(find_revoked, given)
    assert found == {f"key:{expired.prefix}", f"key:{missing}"}


async def test_texts_that_are_no_primary_keys_belong_to_no_user() -> None:
    user = await User.objects.acreate(username="alice")
    keys = [str(user.pk), "x", "", "999", "1" * 40]
    assert await database.execute_read(active_users, keys) == {str(user.pk)}
