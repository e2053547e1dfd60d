"""The tested versions of the libraries whose private parts the app uses.

`make lock` derives `tested_versions.txt` from the lock file.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

TESTED = Path(__file__).with_name("tested_versions.txt")


class Untested(NamedTuple):
    """A library that is installed in a newer version than the tested one."""

    name: str
    installed: str
    tested: str


def read_tested(text: str) -> dict[str, str]:
    """Return the newest version in `name==version` lines, of each library."""
    tested: dict[str, str] = {}
    for name, _, locked in (line.partition("==") for line in text.split()):
        if _release(locked) > _release(tested.get(name, "0")):
            tested[name] = locked
    return tested


def installed(names: Mapping[str, str]) -> dict[str, str]:
    """Return the installed version of each library that is installed."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def untested(
    tested: Mapping[str, str], present: Mapping[str, str]
) -> Iterator[Untested]:
    """Yield each library whose minor version is newer than the tested one."""
    for name, number in present.items():
        if _release(number) > _release(tested[name]):
            yield Untested(name, number, tested[name])


def _release(number: str) -> tuple[int, ...]:
    """Return major and minor: patch releases count as tested."""
    return tuple(int(part) for part in number.split(".")[:2] if part.isdecimal())
