"""The site's settings from the environment: secrets, directories, CORS, HTTPS, log."""

import json
import logging
import re
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings

from agentsite.log import ReadableFormatter, SiteFilter
from tests.client import API, Api
from tests.servers import ROOT, fenced, site_environment

SHOWN = """
import json
from django.conf import settings
print(json.dumps({name: getattr(settings, name) for name in %r}))
"""


def show(directory: Path, *names: str, **variables: str) -> dict[str, Any]:
    """Return settings of the site, as a new process reads them."""
    ended = started(directory, SHOWN % (names,), **variables)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def started(
    directory: Path, code: str = SHOWN % (["SECRET_KEY"],), **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=site_environment(directory, **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("debug", "given", "expected"),
    [
        ("true", "", ["streaming.auth.open"]),
        ("true", "streaming.auth.session", ["streaming.auth.session"]),
        ("false", "", None),
        ("false", "streaming.auth.open", ["streaming.auth.open"]),
    ],
)
def test_the_site_is_open_with_debug_or_by_its_setting(
    tmp_path: Path, debug: str, given: str, expected: list[str] | None
) -> None:
    found = show(tmp_path, "STREAMING", DEBUG=debug, AUTHENTICATION=given)
    assert found["STREAMING"].get("AUTHENTICATION") == expected


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_processes_that_start_together_agree_on_the_secret_key(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    with ThreadPoolExecutor(8) as pool:
        starts = [
            pool.submit(show, directory, "SECRET_KEY", SECRET_KEY="") for _ in range(8)
        ]
        keys = {start.result()["SECRET_KEY"] for start in starts}
    assert len(keys) == 1
    assert len(keys.pop()) >= 50
    assert [path.name for path in directory.iterdir()] == ["secret_key"]
    assert mode_of(directory) == 0o700
    assert mode_of(directory / "secret_key") == 0o600


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_secret_key_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret_key").write_text(content)
    ended = started(tmp_path, SECRET_KEY="")
    assert ended.returncode == 1
    assert f"The secret key in {tmp_path / 'secret_key'} is empty" in ended.stderr
    assert (tmp_path / "secret_key").read_text() == content


def test_a_secret_key_of_an_earlier_start_is_kept(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("earlier\n")
    assert show(tmp_path, "SECRET_KEY", SECRET_KEY="") == {"SECRET_KEY": "earlier"}


def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    show(tmp_path, "SECRET_KEY", SECRET_KEY="")
    assert mode_of(tmp_path) == 0o755


def test_the_data_directory_is_private_with_any_umask(tmp_path: Path) -> None:
    code = f"import os; os.umask(0)\n{SHOWN % (['SECRET_KEY'],)}"
    ended = started(tmp_path / "data", code)
    assert ended.returncode == 0, ended.stderr
    assert mode_of(tmp_path / "data") == 0o700


def test_further_headers_and_credentials_are_allowed_by_settings(
    tmp_path: Path,
) -> None:
    names = ("CORS_ALLOW_HEADERS", "CORS_ALLOW_CREDENTIALS", "CORS_ALLOW_ALL_ORIGINS")
    usual = show(tmp_path, *names, CORS_ORIGINS="https://a.example")
    assert usual["CORS_ALLOW_CREDENTIALS"] is False
    changed = show(
        tmp_path,
        *names,
        CORS_ORIGINS="https://a.example",
        CORS_ALLOW_HEADERS="x-tenant, X-Other",
        CORS_ALLOW_CREDENTIALS="true",
        DEBUG="true",
    )
    further = ["x-tenant", "X-Other"]
    assert changed["CORS_ALLOW_HEADERS"] == [*usual["CORS_ALLOW_HEADERS"], *further]
    assert changed["CORS_ALLOW_CREDENTIALS"] is True
    assert changed["CORS_ALLOW_ALL_ORIGINS"] is False


def test_credentials_for_any_origin_stop_the_start(tmp_path: Path) -> None:
    ended = started(tmp_path, CORS_ORIGINS="*", CORS_ALLOW_CREDENTIALS="true")
    assert ended.returncode == 1
    assert "CORS_ALLOW_CREDENTIALS needs a list of origins" in ended.stderr


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "65536", "PORT='65536': expected a whole number, at least 1, at most"),
        ("DATABASE_URL", "mysql://u@h/d", "DATABASE_URL: expected a URL of PostgreSQL"),
        ("DATA_DIR", "/dev/null", "DATA_DIR='/dev/null': expected a writable directo"),
        ("DATA_DIR", "/proc/data", "DATA_DIR='/proc/data': expected a writable direc"),
        ("DATA_DIR", "/proc", "DATA_DIR='/proc': expected a writable directory ("),
        ("AUTHENTICATION", "a.b", "AUTHENTICATION='a.b': expected a dotted path (No m"),
    ],
)
def test_an_unusable_value_stops_the_start(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    variables = {"SECRET_KEY": "", name: value}
    setup = "import django; django.setup()"
    ended = started(tmp_path, setup, **variables)
    assert ended.returncode == 1
    assert sentence in ended.stderr.splitlines()[-1]


def test_the_documented_settings_for_production_pass_the_check(tmp_path: Path) -> None:
    block, _ = fenced("deployment.md", "env")  # the other one is of compose
    variables = dict(line.split("=", 1) for line in block.splitlines())
    variables["AUTHENTICATION"] = ""  # the default
    variables["DATABASE_URL"] = ""  # this check connects to none
    variables["SECRET_KEY"] = secrets.token_urlsafe(50)
    variables.setdefault("AUTHENTICATION", "")  # the tests' own site is open
    ended = subprocess.run(
        [*(sys.executable, "manage.py", "check"), "--deploy", "--fail-level=WARNING"],
        cwd=ROOT,
        env=site_environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert "no issues" in ended.stdout


def test_behind_tls_cookies_are_for_tls_only(tmp_path: Path) -> None:
    names = [f"{cookie}_COOKIE_SECURE" for cookie in ("SESSION", "CSRF")]
    assert show(tmp_path, *names, HTTPS="true") == dict.fromkeys(names, True)
    assert show(tmp_path, *names) == dict.fromkeys(names, False)
    kept = {
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "CSRF_COOKIE_SAMESITE": "Lax",
    }
    assert show(tmp_path, *kept, HTTPS="true") == kept


@pytest.mark.parametrize(
    "text",
    [
        "a\n2026-11-27 12:00:00 INFO    streaming: forged",
        "a\r2026-11-27 12:00:00",
        "a\x1b[2J\x1b]0;title\x07",
        "a\x9b2J\x85b\x7f",
    ],
)
def test_no_text_looks_like_a_record_or_changes_the_terminal(text: str) -> None:
    error = ValueError(text)
    record = logging.LogRecord("n", 20, "", 0, "%s", (text,), (ValueError, error, None))
    first, *others = (
        ReadableFormatter("{message}", style="{").format(record).split("\n")
    )
    assert first.startswith("a")
    assert others and all(line.startswith("    ") for line in others)
    assert re.search(r"[\x00-\x1f\x7f-\x9f]", "".join([first, *others])) is None


def test_hsts_preload_is_the_operators_choice(tmp_path: Path) -> None:
    names = ("SECURE_HSTS_SECONDS", "SECURE_HSTS_PRELOAD")
    usual = show(tmp_path, *names, HTTPS="true")
    assert usual["SECURE_HSTS_SECONDS"] > 0
    assert usual["SECURE_HSTS_PRELOAD"] is False
    chosen = show(tmp_path, *names, HTTPS="true", HSTS_PRELOAD="true")
    assert chosen["SECURE_HSTS_PRELOAD"] is True


@pytest.mark.parametrize("value", ["agent", "/agent/", "/a b", "/", "//a", "/a?b"])
def test_a_path_prefix_that_is_no_path_stops_the_start(
    tmp_path: Path, value: str
) -> None:
    ended = started(tmp_path, FORCE_SCRIPT_NAME=value)
    assert ended.returncode == 1
    assert f"FORCE_SCRIPT_NAME={value!r}: expected a path" in ended.stderr


@pytest.mark.parametrize(
    ("name", "values", "kept"),
    [
        ("uvicorn.access", ("1.2.3.4", "GET", "/health", "1.1", 200), False),
        ("uvicorn.access", ("1.2.3.4", "GET", "/a/ready?x=1", "1.1", 503), False),
        ("uvicorn.access", ("1.2.3.4", "GET", "/already", "1.1", 200), True),
        ("uvicorn.access", ("1.2.3.4", "POST", f"{API}/run", "1.1", 200), True),
        ("uvicorn.access", ("1.2.3.4", "GET", "/metrics", "1.1", 200), False),
        ("uvicorn.access", ("1.2.3.4", "GET", "/a/metrics?x=1", "1.1", 401), True),
        ("uvicorn.error", ("/ready",), True),
        ("django.request", ("/ready", 503), False),
        ("django.request", ("/metrics", 401), True),
        ("django.request", ("/metrics", 403), True),
    ],
)
def test_the_log_has_no_probes(
    name: str, values: tuple[object, ...], kept: bool
) -> None:
    record = logging.LogRecord(name, logging.INFO, "", 0, "%s", values, None)
    if name == "django.request":
        vars(record)["request"] = SimpleNamespace(path_info=values[0])
        vars(record)["status_code"] = values[1]
    vars(record)["color_message"] = "coloured"
    assert SiteFilter().filter(record) is kept
    assert not hasattr(record, "color_message")


TLS = {"x_forwarded_proto": "https"}


@pytest.fixture
def https_site(api: Api) -> Iterator[Api]:
    """The site with the settings of HTTPS, and a page on another origin."""
    with override_settings(
        SECURE_SSL_REDIRECT=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        CORS_ALLOWED_ORIGINS=["https://a.example"],
    ):
        yield Api()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/metadata"),
        ("POST", f"{API}/run"),
        ("POST", f"{API}/stream"),
        ("GET", f"{API}/runs/x/events"),
        ("GET", "/api/unknown"),
    ],
)
async def test_with_https_the_api_refuses_plain_http(
    https_site: Api,
    method: str,
    path: str,
) -> None:
    origin = {"origin": "https://a.example"}
    async with https_site.open(method, path, {"input": "2 + 2"}, origin) as stream:
        plain = await stream.end()
    assert (plain.status, plain.json["code"]) == (403, "forbidden")
    assert plain.headers["access-control-allow-origin"] == "https://a.example"
    async with https_site.open(method, path, {"input": "2 + 2"}, TLS) as stream:
        secure = await stream.end()
    assert secure.status in (200, 404)


async def test_with_https_the_metrics_refuse_plain_http(https_site: Api) -> None:
    plain = await https_site.get("/metrics")
    assert (plain.status, plain.json["code"]) == (403, "forbidden")
    assert (await https_site.get("/metrics", **TLS)).status == 404  # without a token


async def test_with_https_probes_may_use_plain_http_and_pages_are_redirected(
    https_site: Api,
) -> None:
    assert (await https_site.get("/health")).status == 200
    assert (await https_site.get("/ready")).status == 200
    page = await https_site.get("/")
    assert (page.status, page.headers["location"]) == (301, "https://localhost/")
