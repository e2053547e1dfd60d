"""`manage.py check_streaming URL`: does a stream survive the way to its clients?"""

from argparse import ArgumentParser

import httpx2
from django.core.management.base import BaseCommand, CommandError

from streaming.selftest.findings import Finding, findings
from streaming.selftest.measure import Measured, Reading, measure, offers_http2
from streaming.selftest.plan import make_plan

SILENCE_SECONDS = 65.0
MOST_SILENCE_SECONDS = 3600.0


class Command(BaseCommand):
    """Measures through whatever stands between, and says what is wrong."""

    help = (
        "Streams from a running server through whatever stands between: proxies, load "
        "balancers, caches. Says whether frames arrive as they are sent, whether "
        "silence is survived and Last-Event-ID gets through, and which directive fixes "
        "what does not. Asks no model. Needs the server's SECRET_KEY, so run it where "
        "the server runs. Exits with 1 when something is wrong."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The URL that clients use, and how they get in."""
        parser.add_argument("url", help="as clients use it: https://agent.example.com")
        parser.add_argument(
            "--header",
            action="append",
            default=[],
            metavar="'NAME: VALUE'",
            help="send this too, as for a proxy that asks who you are; repeatable",
        )
        parser.add_argument(
            "--silence",
            type=float,
            default=SILENCE_SECONDS,
            metavar="SECONDS",
            help="how long to listen to nothing but heartbeats (default: %(default)g, "
            "longer than most proxies wait)",
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
        """Measure, tell, and exit with 1 when something is wrong."""
        if not url.startswith(("http://", "https://")):
            raise CommandError(f"{url}: expected http://… or https://…")
        if not 0 <= silence <= MOST_SILENCE_SECONDS:
            raise CommandError(f"--silence is 0 to {MOST_SILENCE_SECONDS:g} seconds.")
        self.stdout.write(f"This takes about {silence + 8:.0f} seconds.")
        with httpx2.Client(headers=_headers(header), verify=not insecure) as client:
            measured = measure(client, url, make_plan(silence))
        self._tell_way(url, measured)
        found = findings(measured)
        for finding in found:
            self._tell(finding)
        if wrong := sum(not finding.ok for finding in found):
            raise CommandError(f"{wrong} of {len(found)} checks failed.")

    def _tell_way(self, url: str, measured: Measured | Reading) -> None:
        reading = measured if isinstance(measured, Reading) else measured.get
        if not reading.status:
            return
        seen = reading.connected.get("seen", {}).get("http_version")
        there = f", HTTP/{seen} at the server" if seen else ""
        name = reading.headers.get("Server", "an unnamed server")
        self.stdout.write(f"{url}: {name}, {reading.http_version} here{there}.")
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

    def _tell(self, finding: Finding) -> None:
        mark = self.style.SUCCESS("ok   ") if finding.ok else self.style.ERROR("WRONG")
        self.stdout.write(f"{mark}  {finding.what} {finding.said}")
        for where, directive in finding.fixes.items():
            self.stdout.write(f"         {where + ':':<11} {directive}")


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator or not name.strip():
            raise CommandError(f"--header {line!r}: expected 'NAME: VALUE'.")
        headers[name.strip()] = value.strip()
    return headers
