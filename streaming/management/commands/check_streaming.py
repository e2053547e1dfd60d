"""`manage.py check_streaming URL` tests that proxies pass a stream on undamaged."""

from argparse import ArgumentParser

import httpx2
from django.core.management.base import BaseCommand, CommandError

from streaming.selftest.findings import Finding, findings
from streaming.selftest.measure import Measured, Reading, measure, offers_http2
from streaming.selftest.plan import make_plan

SILENCE_SECONDS = 65.0
MAX_SILENCE_SECONDS = 3600.0


class Command(BaseCommand):
    """Measures a stream through all proxies, and reports faults with their fixes."""

    help = (
        "Streams from a running server through its proxies, load balancers and caches. "
        "Checks that frames arrive as they are sent, that silent streams stay open and "
        "that Last-Event-ID reaches the server. Names the directive that fixes each "
        "fault. Calls no model. Needs the server's SECRET_KEY, so run it where the "
        "server runs. Exits with 1 if a check fails."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the URL that clients use, and their headers."""
        parser.add_argument("url", help="the URL of clients: https://agent.example.com")
        parser.add_argument(
            "--header",
            action="append",
            default=[],
            metavar="'NAME: VALUE'",
            help="also send this, as for a proxy with authentication; repeatable",
        )
        parser.add_argument(
            "--silence",
            type=float,
            default=SILENCE_SECONDS,
            metavar="SECONDS",
            help="length of the silence, with heartbeats only (default: %(default)g, "
            "longer than the timeout of most proxies)",
        )
        parser.add_argument(
            "--insecure", action="store_true", help="accept any TLS certificate"
        )

    def handle(
        self,
        *args: object,
        url: str,
        header: list[str],
        silence: float,
        insecure: bool,
        **_: object,
    ) -> None:
        """Measure, report, and exit with 1 if a check fails."""
        if not url.startswith(("http://", "https://")):
            raise CommandError(f"{url}: expected http://… or https://…")
        if not 0 <= silence <= MAX_SILENCE_SECONDS:
            raise CommandError(f"--silence is 0 to {MAX_SILENCE_SECONDS:g} seconds.")
        self.stdout.write(f"This takes about {silence + 8:.0f} seconds.")
        with httpx2.Client(headers=_headers(header), verify=not insecure) as client:
            measured = measure(client, url, make_plan(silence))
        self._write_route(url, measured)
        results = findings(measured)
        for finding in results:
            self._write_finding(finding)
        if failed := sum(not finding.ok for finding in results):
            raise CommandError(f"{failed} of {len(results)} checks failed.")

    def _write_route(self, url: str, measured: Measured | Reading) -> None:
        reading = measured if isinstance(measured, Reading) else measured.get
        if not reading.status:
            return
        seen = reading.connected.get("seen", {}).get("http_version")
        at_server = f", HTTP/{seen} at the server" if seen else ""
        name = reading.headers.get("Server", "an unnamed server")
        self.stdout.write(f"{url}: {name}, {reading.http_version} here{at_server}.")
        if seen == "1.0":
            self.stdout.write(
                "With HTTP/1.0 each request opens a connection of its own. "
                "nginx: proxy_http_version 1.1;"
            )
        if offers_http2(url) is False:
            self.stdout.write(
                "Over HTTP/1.1 a browser opens six streams to a site at most. nginx: "
                "http2 on; (before 1.25.1: listen 443 ssl http2;) Apache: "
                "Protocols h2 http/1.1"
            )

    def _write_finding(self, finding: Finding) -> None:
        mark = self.style.SUCCESS("ok   ") if finding.ok else self.style.ERROR("WRONG")
        self.stdout.write(f"{mark}  {finding.check} {finding.detail}")
        for product, directive in finding.fixes.items():
            self.stdout.write(f"         {product + ':':<11} {directive}")


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator or not name.strip():
            raise CommandError(f"--header {line!r}: expected 'NAME: VALUE'.")
        headers[name.strip()] = value.strip()
    return headers
