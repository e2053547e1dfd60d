"""A port of its own for scrapes: for processes that serve no HTTP, or for all of them.

The processes of a machine share the address: one of them listens, and its scrape has
the metrics of all. When it ends, another one takes its place.
"""

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

logger = logging.getLogger(__name__)

#: The path that Prometheus requests by default.
PATH = "/metrics"
#: Requests at a time; further connections are closed.
MAX_REQUESTS = 2
#: Time from the connection to the last byte of the response, as long as Prometheus
#: waits by default.
REQUEST_SECONDS = 10.0
#: Returns the text for an `Accept` header, and its content type.
Respond = Callable[[str], tuple[bytes, str]]
#: The type of requests in `socketserver`; here always a socket, as with TCP.
Connection = socket.socket | tuple[bytes, socket.socket]


class AddressInUse(Exception):
    """Another process listens on the address."""


class MetricsAddress:
    """A server of metrics in threads, from construction to `close`.

    Raises `AddressInUse`, or `OSError` if the address is not of this machine.
    """

    def __init__(self, host: str, port: int, respond: Respond) -> None:
        def application(
            environ: dict[str, Any], start_response: Callable[..., Any]
        ) -> Iterable[bytes]:
            if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "GET":
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [f"Metrics are at GET {PATH}.\n".encode()]
            body, content_type = respond(environ.get("HTTP_ACCEPT", ""))
            start_response("200 OK", [("Content-Type", content_type)])
            return [body]

        try:
            self._server = make_server(host, port, application, _Server, _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse from None
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics-address", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening, within the half a second that the server needs for it."""
        threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        """Wait for the server's loop, which an event loop must not do."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    """A server whose threads and their lives are bounded: its clients are unknown."""

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: type[WSGIRequestHandler]
    ) -> None:
        self._places = threading.BoundedSemaphore(MAX_REQUESTS)
        #: The time at which each open connection is cut.
        self._deadlines: dict[Connection, float] = {}
        super().__init__(address, handler)

    def process_request(self, request: Connection, client_address: object) -> None:
        """Respond in a thread, or close the connection if all places are taken."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._deadlines[request] = time.monotonic() + REQUEST_SECONDS
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread was started
            self._release(request)
            raise

    def process_request_thread(
        self, request: Connection, client_address: object
    ) -> None:
        """Respond, and give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._release(request)

    def service_actions(self) -> None:
        """Cut connections that last too long; the loop calls it twice a second."""
        now = time.monotonic()
        for request, deadline in list(self._deadlines.items()):
            if now >= deadline and isinstance(request, socket.socket):
                with suppress(OSError):  # closed in the meantime
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Connection, client_address: object) -> None:
        """Log a connection that was cut or timed out, without a traceback on stderr."""
        logger.debug("scrape failed", exc_info=True)

    def _release(self, request: Connection) -> None:
        del self._deadlines[request]
        self._places.release()

    def server_bind(self) -> None:
        """Listen without looking up the name of the machine, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    #: Time in seconds for one read or write.
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Log no scrapes: they come all the time."""
