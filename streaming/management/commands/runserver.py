"""`manage.py runserver` under ASGI; Django's collects a stream before sending it.

Uvicorn runs in a thread of Django's auto-reloader: events are sent as soon as they are
made, and a saved file restarts the server.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from argparse import SUPPRESS
from contextlib import suppress
from functools import partial
from types import FrameType

import uvicorn
from django.conf import settings
from django.contrib.staticfiles.management.commands import runserver
from django.core.management.base import CommandParser
from django.db import connections
from django.urls import NoReverseMatch, reverse, set_script_prefix
from django.utils import autoreload

from streaming import conf
from streaming.agents import registry
from streaming.providers import make_provider
from streaming.server.asgi import make_application

STOP_SECONDS = 3
#: The exit code with which Django's reloader requests a restart.
RELOAD = 3
#: The argument of the process in which the reloader runs.
CHILD = "--is-child"
#: Addresses that are shown as `localhost`.
LOCAL = ("127.0.0.1", "::1", "0.0.0.0")
#: The views whose URLs are shown.
URLS = {
    "demo": "streaming:index",
    "health": "streaming:health",
    "metadata": "streaming:metadata",
    "stream": "streaming:stream",
    "admin": "admin:index",
}


class Command(runserver.Command):
    """Serves the site for development, streams included."""

    help = "Starts an ASGI development server that streams, with auto-reload."
    default_port = str(getattr(settings, "PORT", 8000))
    # Set by Django's command from its arguments.
    addr: str
    port: str
    use_ipv6: bool

    _thread: threading.Thread | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        """Add Django's arguments and the internal one."""
        super().add_arguments(parser)
        parser.add_argument(CHILD, action="store_true", help=SUPPRESS)

    def run(self, **options: object) -> None:
        """Serve until a signal or a changed file, then end the runs and streams."""
        if options["use_reloader"] and not options["is_child"]:
            sys.exit(_supervise())
        try:
            super().run(**options)
        finally:
            # Here and not at exit: Python has ended the writer thread by then.
            self._stop()

    def inner_run(self, *args: object, **options: object) -> None:
        """Run the checks, bind the address, print the URLs and serve."""
        autoreload.raise_last_exception()
        if not options["skip_checks"]:
            self.check(display_num_errors=False)
        self.check_migrations()
        connections.close_all()
        self._application = make_application(development=True)
        config = uvicorn.Config(
            self._application,
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        listener = self._bind()
        self._thread = threading.current_thread()
        self._print_urls()
        self._server.run(sockets=[listener])

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if self.use_ipv6 else socket.AF_INET
        try:
            return socket.create_server((self.addr, int(self.port)), family=family)
        except OSError as error:
            self.stderr.write(f"Cannot listen on {self.addr}:{self.port}: {error}")
            # sys.exit would only end the reloader's thread.
            os._exit(1)

    def _stop(self) -> None:
        """End the server in the reloader's thread, which receives no signals."""
        if self._thread and self._thread is not threading.current_thread():
            self._application.begin_shutdown()
            self._server.should_exit = True
            self._thread.join(STOP_SECONDS)

    def _print_urls(self) -> None:
        agent = registry.get().default
        provider = make_provider(conf.provider(agent.model))
        host = "localhost" if self.addr in LOCAL else self.addr
        lines = [
            f"\n{self.style.SUCCESS(agent.name)}: provider {provider.name}, "
            f"model {provider.model}\n"
        ]
        set_script_prefix(settings.FORCE_SCRIPT_NAME or "/")  # this thread has none
        for label, view in URLS.items():
            with suppress(NoReverseMatch):  # a project may leave out any of them
                url = f"http://{host}:{self.port}{reverse(view)}"
                lines.append(f"  {label:<9} {url}")
        self.stdout.write("\n".join([*lines, "\nCtrl+C stops it.\n"]))
        self.stdout.flush()  # through a pipe, too, it is seen at once


def _supervise() -> int:
    """Run the server as a child, restart it when code changes, return its exit code.

    Django's parent process kills its child a moment after a signal. This one passes
    SIGTERM on (at a terminal, Ctrl+C reaches the child directly) and waits.
    """
    environment = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    while True:
        command = [*autoreload.get_child_arguments(), CHILD]
        child = subprocess.Popen(command, env=environment, close_fds=False)
        signal.signal(signal.SIGTERM, partial(_forward_signal, child))
        signal.signal(signal.SIGINT, lambda *_: None)
        if (code := child.wait()) != RELOAD:
            return code


def _forward_signal(
    child: subprocess.Popen[bytes], number: int, _: FrameType | None
) -> None:
    child.send_signal(number)
