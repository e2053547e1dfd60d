"""The current time, anywhere."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from streaming.tools import ToolError
from streaming.tools.builtin.clock import current_time


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("UTC", "UTC"),
        ("Europe/Berlin", "Europe/Berlin"),
        ("asia/tokyo", "Asia/Tokyo"),
        ("Tokyo", "Asia/Tokyo"),
        ("New York", "America/New_York"),
    ],
)
def test_it_is_now_in_the_zone_that_was_named(given: str, name: str) -> None:
    text, _, rest = current_time(given).partition(" ")
    told = datetime.fromisoformat(text)
    assert abs(told - datetime.now(UTC)) < timedelta(seconds=5)
    assert told.utcoffset() == told.replace(tzinfo=ZoneInfo(name)).utcoffset()
    assert rest == f"({told:%A}, {name})"


def test_without_a_zone_it_is_utc() -> None:
    assert current_time().endswith("UTC)")


@pytest.mark.parametrize(
    "given", ["", "Atlantis", "../../etc/passwd", "GMT+1", "a\0b", "x" * 10_000]
)
def test_a_zone_that_is_none_is_an_error_with_an_example(given: str) -> None:
    with pytest.raises(ToolError, match="Europe/Berlin") as caught:
        current_time(given)
    assert len(str(caught.value)) < 250
