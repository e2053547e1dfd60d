"""The time to wait that a vendor's error asks for, in its headers or in its text."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: The longest wait in seconds that is passed on to a client.
_MAX_WAIT = 86_400.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_AMOUNT = re.compile(
    r"(\d+(?:\.\d+)?) ?(ms|millisecond|s|sec|m|min|h|hour|d|day)[a-z]*(?![a-z])",
    re.IGNORECASE,
)
#: OpenAI, Groq and Google state the wait in a sentence, Google also in a field.
_STATED = re.compile(
    r"(?:try again|retry|reset)\w*[^.\d]{0,20} (?:in|after) "
    r"((?:\d+(?:\.\d+)? ?(?:ms|[smhd])[a-z]*[ ,]*)+)|"
    r"\\?\"retry_?delay\\?\": ?\\?\"([\d.]+m?s)",
    re.IGNORECASE,
)
#: Headers that state the end of an exhausted limit, by the ends of their names.
_LIMITS = ("", "-requests", "-tokens")
#: Larger numbers in such a header are a time, in seconds or milliseconds since 1970.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 10**9, 10**12


def retry_after(headers: Mapping[str, str], text: str) -> float | None:
    """Return the seconds to wait that an error states; None if it states none."""
    try:
        seconds = _seconds(headers, text)
    except (ValueError, OverflowError):  # the latter for dates of the year 1
        return None
    if seconds is None or not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _MAX_WAIT)


def _seconds(headers: Mapping[str, str], text: str) -> float | None:
    if milliseconds := headers.get("retry-after-ms"):
        return float(milliseconds) / 1000
    if stated := headers.get("retry-after"):
        return _seconds_until(stated)
    if match := _STATED.search(text):
        return _duration(match[1] or match[2])
    return max(_resets(headers), default=None)


def _resets(headers: Mapping[str, str]) -> Iterator[float]:
    """Yield the seconds until the exhausted limits are reset."""
    for name in _LIMITS:
        reset = headers.get(f"x-ratelimit-reset{name}")
        if reset and headers.get(f"x-ratelimit-remaining{name}") == "0":
            yield _duration(reset) if _AMOUNT.search(reset) else _seconds_until(reset)


def _duration(text: str) -> float:
    """Return the seconds of a duration such as `1m26.4s`."""
    amounts = _AMOUNT.findall(text)
    units = ((float(number), unit.lower()) for number, unit in amounts)
    return sum(
        number * _UNITS["ms" if unit.startswith(("ms", "milli")) else unit[0]]
        for number, unit in units
    )


def _seconds_until(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        moment = parsedate_to_datetime(value)
        return (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    if number < _EPOCH_SECONDS:
        return number
    seconds = number / 1000 if number >= _EPOCH_MILLISECONDS else number
    return seconds - datetime.now(UTC).timestamp()
