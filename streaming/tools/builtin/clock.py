"""The tool for the current time in any time zone."""

from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from streaming.tools.base import ToolError, tool


@cache
def _zones() -> dict[str, str]:
    """Return the time zones by their names, and by the cities in their names.

    "GMT+1" does not match Etc/GMT+1, which is an hour behind GMT.
    """
    names = sorted(available_timezones())
    cities = {
        _key(name.rpartition("/")[2]): name
        for name in reversed(names)
        if not name.startswith("Etc/")
    }
    return cities | {_key(name): name for name in names}


def _key(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


@tool
def current_time(timezone: str = "UTC") -> str:
    """Tell the current date, time and weekday in a time zone.

    Args:
        timezone: An IANA time zone such as "Europe/Berlin", or a city that has one of
            its own, such as "Tokyo".
    """
    name = _zones().get(_key(timezone))
    if name is None:
        raise ToolError(
            f"There is no time zone {timezone[:100]!r}. Use an IANA name such as "
            f"Europe/Berlin or America/New_York."
        )
    now = datetime.now(ZoneInfo(name))
    return f"{now.isoformat(timespec='seconds')} ({now:%A}, {name})"
