"""The current time in any time zone."""

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
def test_the_time_is_that_of_the_named_zone(given: str, name: str) -> None:
    text, _, rest = current_time(given).partition(" ")
    shown = datetime.fromisoformat(text)
    assert abs(shown - datetime.now(UTC)) < timedelta(seconds=5)
    assert shown.utcoffset() == shown.replace(tzinfo=ZoneInfo(name)).utcoffset()
    assert rest == f"({shown:%A}, {name})"


def test_without_a_zone_it_is_utc() -> None:
    assert current_time().endswith("UTC)")


@pytest.mark.parametrize(
    "given", ["", "Atlantis", "../../etc/passwd", "GMT+1", "a\0b", "x" * 10_000]
)
def test_an_unknown_zone_is_an_error_with_an_example(given: str) -> None:
    with pytest.raises(ToolError, match="Europe/Berlin") as caught:
        current_time(given)
    assert len(str(caught.value)) < 250
