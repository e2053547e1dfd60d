"""Long works in the database leave half of the time to other writers."""

import time

from streaming.storage.pauses import LEAST, MOST, pause_after


def test_a_pause_is_as_long_as_its_transaction_took() -> None:
    began = time.monotonic() - MOST / 2
    pause = pause_after(began)
    assert MOST / 2 <= pause <= min(time.monotonic() - began, MOST)


def test_a_pause_has_limits() -> None:
    assert pause_after(time.monotonic() + 60) == LEAST
    assert pause_after(time.monotonic() - 60) == MOST
