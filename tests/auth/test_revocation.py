"""Revoked credentials of several kinds, some of which fail to be looked up."""

from collections.abc import AsyncGenerator, Collection, Sequence

import pytest
from django.db import OperationalError

from streaming.auth import revocation
from streaming.auth.revocation import StreamAccess, Watcher, register
from streaming.principals import Principal

pytestmark = pytest.mark.usefixtures("transactional_db")


async def batches(*, fails: bool = False) -> AsyncGenerator[bytes]:
    """Yield one batch, and fail at the end of the stream."""
    try:
        yield b""
    finally:
        if fails:
            raise ConnectionError("the source failed")


async def opened(
    watcher: Watcher, credential: str, *, fails: bool = False
) -> StreamAccess:
    """Return the access to a stream that has sent its first batch."""
    source = batches(fails=fails)
    await anext(source)
    access = StreamAccess(Principal("acme", credential=credential), source)
    watcher.add(access)
    return access


def revoked(principals: Sequence[Principal]) -> Collection[str]:
    """Return all credentials, in the order of the streams."""
    return [principal.credential for principal in principals]


@pytest.mark.parametrize("error", [ConnectionError("cache"), OperationalError("gone")])
async def test_a_kind_that_cannot_be_looked_up_delays_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(principals: Sequence[Principal]) -> Collection[str]:
        raise error

    monkeypatch.setattr(revocation, "_kinds", {})
    register("cached", fail)
    register("stored", revoked)
    watcher = Watcher()
    cached = await opened(watcher, "cached:1")
    stored = await opened(watcher, "stored:1")
    await watcher.end_revoked()
    assert (cached.revoked, stored.revoked) == (False, True)
    assert "revoked credentials not read: cached" in caplog.text
    for each in (cached, stored):
        watcher.remove(each)


async def test_a_source_that_fails_at_its_end_delays_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(revocation, "_kinds", {})
    register("stored", revoked)
    watcher = Watcher()
    failing = await opened(watcher, "stored:1", fails=True)
    other = await opened(watcher, "stored:2")
    await watcher.end_revoked()
    assert (failing.revoked, other.revoked) == (True, True)
    assert "ConnectionError: the source failed" in caplog.text
    for each in (failing, other):
        watcher.remove(each)
