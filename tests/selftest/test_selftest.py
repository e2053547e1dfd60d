"""`manage.py check_streaming` through a real nginx.

With the documented block all checks pass; each fault in it is reported with its fix.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import msgspec
import pytest
from django.conf import settings
from django.core import signing

from streaming.selftest import plan as plans
from streaming.selftest.findings import Finding, findings
from streaming.selftest.measure import measure
from streaming.selftest.plan import PATH, Plan, make_plan
from streaming.testing.server import free_port
from tests.client import Api
from tests.servers import ROOT, app, nginx, site_environment

pytestmark = pytest.mark.xdist_group("selftest")  # one measurement serves them

SILENCE = 7.0
#: The server's heartbeat; a read timeout of less than it cuts.
HEARTBEAT = "4.5"

AS_SENT = "Frames arrive as they are sent."
UNCOMPRESSED = "Frames are not compressed."
UNCACHED = "Frames are not cached."
RESUMED = "Last-Event-ID reaches the server."
SURVIVED = "Silent streams stay open."
ANSWERS = "The server answers."

Edits = list[tuple[str, str]]


def documented_block() -> str:
    documented = (ROOT / "docs" / "proxies.md").read_text()
    (block,) = re.findall(r"^```nginx\n(.+?)^```", documented, re.M | re.S)
    return str(block)


IGNORED = "proxy_ignore_headers X-Accel-Buffering Cache-Control;"
CACHE = f"proxy_buffering on; {IGNORED} proxy_cache c; proxy_cache_valid 1m;"
#: Changes of the block, the checks that then fail, and words of the report.
FAULTS: dict[str, tuple[Edits, set[str], str]] = {
    "as documented": ([], set(), ""),
    # nginx obeys the header of every stream.
    "buffering on": ([("proxy_buffering off", "proxy_buffering on")], set(), ""),
    # The first nginx removes that header, so the second does not see it.
    "another nginx before it": (
        [
            ("127.0.0.1:8080", "127.0.0.1:{documented}"),
            ("proxy_buffering off;", ""),
            ("proxy_http_version 1.1;", ""),
        ],
        {AS_SENT},
        "proxy_buffering off;",
    ),
    "caching": (
        [("proxy_buffering off;", CACHE)],
        {UNCACHED, RESUMED},
        "proxy_cache off;",
    ),
    "gzip": (
        [("gzip off;", "gzip on; gzip_types text/event-stream; gzip_min_length 0;")],
        {UNCOMPRESSED},
        "gzip off;",
    ),
    "a short read timeout": (
        [("proxy_read_timeout 1h", "proxy_read_timeout 3s")],
        {SURVIVED},
        "proxy_read_timeout 1h;",
    ),
    "Last-Event-ID dropped": (
        [("proxy_buffering", 'proxy_set_header Last-Event-ID ""; proxy_buffering')],
        {RESUMED},
        "proxy_set_header Last-Event-ID $http_last_event_id;",
    ),
    "another host name": (
        [("Host $http_host", "Host app.internal")],
        {ANSWERS},
        "proxy_set_header Host $http_host;",
    ),
    "a redirect": (
        [("proxy_pass", "return 301 https://agent.example/$request_uri; proxy_pass")],
        {ANSWERS},
        "proxy_set_header X-Forwarded-Proto $scheme;",
    ),
    "a password": (
        [("proxy_pass", "return 401; proxy_pass")],
        {ANSWERS},
        "--header",
    ),
    "another site": (
        [("proxy_pass", 'return 200 "It works!"; proxy_pass')],
        {ANSWERS},
        "Another service responds",
    ),
    "no server behind it": (
        [("127.0.0.1:8080", "127.0.0.1:1")],
        {ANSWERS},
        "It responds with 502",
    ),
}


def server_block(port: int, app_port: int, first: int, edits: Edits) -> str:
    block = documented_block()
    for old, new in edits:
        assert block.count(old) == 1
        block = block.replace(old, new.replace("{documented}", str(first)))
    block = block.replace("127.0.0.1:8080", f"127.0.0.1:{app_port}")
    return f"server {{ listen 127.0.0.1:{port}; {block} }}"


def site_conf(ports: dict[str, int], app_port: int, directory: Path) -> str:
    servers = "\n".join(
        server_block(ports[name], app_port, ports["as documented"], edits)
        for name, (edits, _, _) in FAULTS.items()
    )
    return (
        "error_log /dev/null;\nevents {}\nhttp {\naccess_log off;\n"
        f"proxy_cache_path {directory}/cache keys_zone=c:1m;\n{servers}\n}}"
    )


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Start one server, and an nginx with a port for each fault in front of it."""
    directory, app_port = tmp_path_factory.mktemp("nginx"), free_port()
    with ExitStack() as stack:
        listening = {name: free_port() for name in FAULTS}
        conf = site_conf(listening, app_port, directory)
        stack.enter_context(nginx(directory, conf, *listening.values()))
        data = tmp_path_factory.mktemp("data")
        key = {"SECRET_KEY": settings.SECRET_KEY, "STREAM_HEARTBEAT_SECONDS": HEARTBEAT}
        stack.enter_context(app(data, app_port, **key))
        yield listening


@pytest.fixture(scope="module")
def found(ports: dict[str, int]) -> dict[str, list[Finding]]:
    """Return the findings at each port, measured in parallel to save time."""

    def find(port: int) -> list[Finding]:
        with httpx2.Client() as client:
            url = f"http://127.0.0.1:{port}/"
            return findings(measure(client, url, make_plan(SILENCE)))

    with ThreadPoolExecutor(len(ports)) as pool:
        return dict(zip(ports, pool.map(find, ports.values()), strict=True))


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_its_checks_and_no_others(
    name: str, found: dict[str, list[Finding]]
) -> None:
    _, wrong, words = FAULTS[name]
    faults = [finding for finding in found[name] if not finding.ok]
    lines = [f"{finding.check} {finding.detail}" for finding in found[name]]
    assert {finding.check for finding in faults} == wrong, "\n".join(lines)
    report = "\n".join(
        f"{finding.detail} {' '.join(finding.fixes.values())}" for finding in faults
    )
    assert words in report


def test_passed_checks_report_figures(found: dict[str, list[Finding]]) -> None:
    details = {finding.check: finding.detail for finding in found["as documented"]}
    assert details[AS_SENT] == "60 frames, one each 100 ms."
    assert details[SURVIVED] == "7 s of silence; heartbeats received: 1."


def check(
    directory: Path, port: int, *options: str, scheme: str = "http"
) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator does."""
    return subprocess.run(
        [sys.executable, "manage.py", "check_streaming", *options]
        + [f"{scheme}://127.0.0.1:{port}"],
        cwd=ROOT,
        env=site_environment(directory, SECRET_KEY=settings.SECRET_KEY),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_exits_with_0_if_all_checks_pass(
    ports: dict[str, int], tmp_path: Path
) -> None:
    ended = check(tmp_path, ports["as documented"], "--silence", "1")
    assert ended.returncode == 0, ended.stderr
    assert "nginx" in ended.stdout
    assert "HTTP/1.1 at the server" in ended.stdout
    assert ended.stdout.count("ok ") == 5


def test_the_command_exits_with_1_and_prints_the_fix(
    ports: dict[str, int], tmp_path: Path
) -> None:
    ended = check(tmp_path, ports["another host name"])
    assert ended.returncode == 1
    assert "WRONG  The server answers. The host name" in ended.stdout
    assert "nginx:      proxy_set_header Host $http_host;" in ended.stdout
    assert "1 of 1 checks failed." in ended.stderr


def test_a_missing_server_is_reported(tmp_path: Path) -> None:
    ended = check(tmp_path, free_port())
    assert ended.returncode == 1
    assert "There is no response" in ended.stdout


def certificate(directory: Path) -> str:
    """Make a key and an untrusted certificate; return their directives."""
    openssl = shutil.which("openssl")
    assert openssl, "openssl is needed"
    key, made = directory / "key.pem", directory / "made.pem"
    options = ("-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost")
    subprocess.run(
        [openssl, "req", *options, "-keyout", key, "-out", made],
        check=True,
        capture_output=True,
    )
    return f"ssl_certificate {made}; ssl_certificate_key {key};"


def test_over_tls_it_reports_the_limit_of_streams_in_a_browser(tmp_path: Path) -> None:
    many, few, app_port = free_port(), free_port(), free_port()
    tls = certificate(tmp_path)
    servers = "".join(
        server_block(port, app_port, 0, []).replace(
            f"{port};", f"{port} {words}; {tls}"
        )
        for port, words in ((many, "ssl http2"), (few, "ssl"))
    )
    conf = f"error_log /dev/null;\nevents {{}}\nhttp {{\naccess_log off;\n{servers}}}"
    secret = {"SECRET_KEY": settings.SECRET_KEY, "HTTPS": "true"}
    with app(tmp_path, app_port, **secret), nginx(tmp_path, conf, many, few):
        options = ("--silence", "1", "--insecure")
        with ThreadPoolExecutor() as pool:
            checks = [
                pool.submit(check, tmp_path, many, *options, scheme="https"),
                pool.submit(check, tmp_path, few, *options, scheme="https"),
                pool.submit(check, tmp_path, many, scheme="https"),
            ]
            fine, also, distrusted = (each.result() for each in checks)
    assert (fine.returncode, also.returncode) == (0, 0), fine.stderr + also.stderr
    assert "six streams" not in fine.stdout
    assert "six streams" in also.stdout
    assert distrusted.returncode == 1
    assert "There is no response: " in distrusted.stdout
    assert "certificate" in distrusted.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--silence", "-1"], "--silence is 0 to 3600 seconds"),
        (["--header", "nonsense"], "expected 'NAME: VALUE'"),
    ],
)
def test_wrong_options_are_rejected(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    ended = check(tmp_path, 1, *options)
    assert ended.returncode == 1
    assert sentence in ended.stderr


class OldSigner(signing.TimestampSigner):
    """A signer of plans that have just expired."""

    def timestamp(self) -> str:
        """Return the time of signing."""
        return signing.b62_encode(int(time.time()) - plans.MAX_AGE_SECONDS - 1)


async def test_the_stream_requires_a_plan_signed_with_the_key(api: Api) -> None:
    plan = Plan("selftest_x", frames=2, pause=0.0, silence=0.0)
    whole = await api.get(f"{PATH}?plan={plan.sign()}")
    assert whole.status == 200
    assert whole.headers["cache-control"] == "no-cache, no-transform"
    assert whole.events == ["connected", "selftest", "selftest", "done"]
    assert [f.id for f in whole.frames[1:3]] == ["selftest_x:1", "selftest_x:2"]
    forged = signing.dumps({"id": "x"}, key="another", salt=plans.SALT)
    other = signing.dumps({"id": "x"}, salt="another")
    old = OldSigner(salt=plans.SALT).sign_object(msgspec.to_builtins(plan))
    assert signing.loads(old, salt=plans.SALT) == msgspec.to_builtins(plan)
    for token in ("", "x", forged, other, old):
        assert (await api.get(f"{PATH}?plan={token}")).status == 404


async def test_the_stream_is_resumed_like_a_run(api: Api) -> None:
    plan = Plan("selftest_x", frames=2, pause=0.0, silence=0.0)
    url = f"{PATH}?plan={plan.sign()}"
    for response in (
        await api.get(url, last_event_id="selftest_x:1"),
        await api.post(url, {}, last_event_id="selftest_x:1"),
        await api.get(f"{url}&after=1"),
    ):
        assert response.events == ["connected", "selftest", "done"]
        assert response.frames[0].data["resumed_after"] == 1
