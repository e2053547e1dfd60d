"""Libraries newer than the tested ones are warned about."""

import re
from pathlib import Path

import pytest

from streaming.checks import check_versions
from streaming.versions import TESTED, Untested, installed, read_tested, untested

ROOT = Path(__file__).resolve().parent.parent


def test_the_tested_versions_are_the_locked_ones() -> None:
    lock = (ROOT / "requirements" / "run.txt").read_text()
    tested = TESTED.read_text().split()
    names = {line.partition("==")[0] for line in tested}
    pins = re.findall(r"^([\w-]+)(?:\[.*\])?(==[^ ]+) ", lock, re.MULTILINE)
    locked = [name + pin for name, pin in pins if name in names]
    assert tested == locked, "run `make lock`"
    assert {"django", "uvicorn", "aiohttp", "asgiref", "openai"} <= names


def test_nothing_is_warned_about_in_the_locked_environment() -> None:
    assert check_versions(None) == []
    tested = read_tested(TESTED.read_text())
    assert installed(tested).keys() == tested.keys()
    assert installed({"no-such-library": "1.0"}) == {}


def test_the_newest_of_several_locked_versions_counts() -> None:
    assert read_tested("django==6.1.3\ndjango==5.2.19") == {"django": "6.1.3"}


@pytest.mark.parametrize(
    ("number", "is_untested"),
    [
        ("3.9", False),
        ("3.14.99", False),
        ("3.15", True),
        ("3.15.0a1", True),
        ("4", True),
    ],
)
def test_a_newer_minor_version_is_untested(number: str, is_untested: bool) -> None:
    found = list(untested({"aiohttp": "3.14.5"}, {"aiohttp": number}))
    expected = [Untested("aiohttp", number, "3.14.5")] if is_untested else []
    assert found == expected
