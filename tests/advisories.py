"""Services of advisories for tests: PyPI's, and the registry of npm.

pip-audit reaches https://pypi.org through the proxy that HTTPS_PROXY names, which is
the service itself. `Advisories.environment` has the variables of both programs.
"""

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "pypi.org"


class Advisories(ThreadingHTTPServer):
    """Knows every package, and the vulnerabilities of some."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: The vulnerabilities by package, in the form of each service.
        self.python: dict[str, Mapping[str, Any]] = {}
        self.npm: dict[str, Mapping[str, Any]] = {}
        #: The status of all responses.
        self.status = 200
        self._certificate, key = _certificate(directory)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self._certificate, key)
        self._cache = directory / "cache"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which pip-audit and npm use this service alone."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {
            "HTTPS_PROXY": url,
            "REQUESTS_CA_BUNDLE": str(self._certificate),
            "npm_config_registry": url,
            "npm_config_cache": str(self._cache / "npm"),
            "XDG_CACHE_HOME": str(self._cache),
            "NO_PROXY": "127.0.0.1",
        }

    def answer_to(self, path: str) -> Any:  # noqa: ANN401  (JSON)
        """Return the response to a request."""
        if path.startswith("/-/npm/"):
            return {name: [found] for name, found in self.npm.items()}
        if path.startswith("/pypi/"):
            found = self.python.get(path.split("/")[2])
            return {"vulnerabilities": [found] if found else []}
        name = path.removeprefix("/")
        return {"name": name, "versions": {"1.0.0": {"name": name, "version": "1.0.0"}}}


class _Handler(BaseHTTPRequestHandler):
    server: Advisories
    protocol_version = "HTTP/1.1"

    def finish(self) -> None:
        """Close the connection, which may be one over TLS."""
        super().finish()
        self.connection.close()

    def do_CONNECT(self) -> None:
        """Go on over TLS, as the host of the request."""
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.context.wrap_socket(
            self.connection, server_side=True
        )
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        """Respond with JSON, which no client may keep."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        content = json.dumps(self.server.answer_to(self.path)).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serve(directory: Path) -> Iterator[Advisories]:
    """Serve advisories on a free port."""
    with Advisories(directory) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield service
        service.shutdown()
        thread.join()


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for the host, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    options = ("-x509", "-nodes", "-newkey", "rsa:2048", "-subj", f"/CN={HOST}")
    names = ("-addext", f"subjectAltName=DNS:{HOST}")
    files = ("-keyout", str(key), "-out", str(certificate))
    command = ["openssl", "req", *options, *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
