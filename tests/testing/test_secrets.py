"""Secrets are found in records and in the logs of servers."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streaming.auth.keys.material import NewKey, hide_keys
from streaming.testing.secrets import (
    LogSearch,
    leaks_in,
    of_environment,
    password_of,
    register,
)
from streaming.testing.server import Server, clean_environment

KEY = "sk-0123456789"
logger = logging.getLogger("streaming.tests")


def as_message() -> None:
    logger.warning("the key " + KEY)


def as_argument() -> None:
    logger.warning("the key %.3s", KEY)


def as_field() -> None:
    logger.warning("failed", extra={"headers": {"authorization": f"Bearer {KEY}"}})


def as_exception() -> None:
    try:
        raise ValueError(KEY)
    except ValueError:
        logger.exception("failed")


def as_cause() -> None:
    try:
        try:
            raise ValueError(KEY)
        except ValueError as error:
            raise ExceptionGroup("several", [RuntimeError()]) from error
    except ExceptionGroup:
        logger.exception("failed")


def in_a_group() -> None:
    try:
        raise ExceptionGroup("several", [ExceptionGroup("x", [ValueError(KEY)])])
    except ExceptionGroup:
        logger.exception("failed")


@pytest.mark.parametrize(
    "leak",
    [as_message, as_argument, as_field, as_exception, as_cause, in_a_group],
    ids=lambda leak: leak.__name__,
)
def test_a_secret_is_found_in_each_part_of_a_record(leak: Callable[[], None]) -> None:
    with LogSearch(lambda: {"SHOP_KEY": KEY}) as search:
        leak()
    [found] = search.leaks
    assert found.startswith("SHOP_KEY in streaming.tests, ")
    assert KEY not in found


def test_a_log_without_secrets_has_no_leaks() -> None:
    with LogSearch(lambda: {"SHOP_KEY": KEY, "EMPTY": "", "SHORT": "none"}) as search:
        logger.warning("none of them: %s", KEY[:-1])
    assert search.leaks == []


def test_a_secret_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.testing.secrets._registered", {})
    register("the key of Alice", KEY)
    assert leaks_in(f"… {KEY} …", {}) == ["the key of Alice"]


def test_an_api_key_is_found_by_its_form() -> None:
    key = NewKey.make()
    found = leaks_in(f"a {key.text} b {hide_keys(key.text)}", {})
    assert found == [f"the API key agk_{key.prefix}_…"]


def test_secrets_of_an_environment_are_its_keys_and_passwords() -> None:
    assert of_environment(
        {
            "SECRET_KEY": "a",
            "API_TOKEN": "b",
            "DATABASE_URL": "postgresql://user:p%40ss@host/name",
            "REDIS_URL": "redis://host",
            "EMPTY_KEY": "",
            "KEYBOARD": "c",
            "PATH": "/bin",
        }
    ) == {"SECRET_KEY": "a", "API_TOKEN": "b", "DATABASE_URL": "p@ss"}


@pytest.mark.parametrize(
    "url", ["postgres://postgres:postgres@h/d", "http://h", "http://[", "x"]
)
def test_a_url_without_a_password_of_its_own_has_no_secret(url: str) -> None:
    assert password_of(url) == ""


@pytest.mark.parametrize(("leaks", "count"), [(True, 1), (False, 0)])
def test_a_server_that_logs_its_key_fails_the_test(
    tmp_path: Path, leaks: bool, count: int
) -> None:
    code = "import http.server, os, sys\n" + "print(os.environ['SHOP_KEY'])\n" * leaks
    code += "sys.stdout.flush()\n"
    code += (
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), None).serve_forever()"
    )
    command = (sys.executable, "-c", code, "{port}")
    server = Server(command, tmp_path, environment=clean_environment(SHOP_KEY=KEY))
    failures = []
    try:
        with server:
            pass
    except AssertionError as error:
        failures.append(str(error))
    assert len(failures) == count
    assert not server.is_running
    assert all("contains SHOP_KEY" in f and KEY not in f for f in failures)
