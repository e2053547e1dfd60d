"""API keys and tokens with a real server: the log has none of them."""

import signal
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from streaming.testing import secrets
from streaming.testing.server import Server
from streaming.testing.sse import Frame, FrameReader
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import SECONDS, UVICORN

KEYS = "streaming.auth.api_key"


def create_key(server: Server, *arguments: str) -> str:
    """Create a key by the command; return it."""
    command = ("manage.py", "create_api_key", "--name=test", "--organization=acme")
    ended = server.run(*command, *arguments)
    assert ended.returncode == 0, ended.stderr
    key = ended.stdout.strip()
    secrets.register("the API key", key[-43:])
    assert key not in ended.stderr
    return key


def frames(response: httpx.Response) -> Iterator[Frame]:
    """Yield the frames of a stream as they arrive."""
    reader = FrameReader()
    for chunk in response.iter_bytes():
        yield from reader.feed(chunk)


@pytest.mark.parametrize("prefix", ["", "/agent"])
def test_no_key_and_no_token_is_logged_and_a_revoked_key_ends_its_streams(
    make: Make, prefix: str
) -> None:
    server = make(
        *UVICORN,
        AUTHENTICATION=KEYS,
        DEMO_DELAY_MS="50",
        DEBUG="true",  # the access log
        FORCE_SCRIPT_NAME=prefix,
    )
    server.start()
    key = create_key(server)
    api = f"{server.url}{prefix}{API}"
    headers = {"Authorization": f"Bearer {key}"}
    body = {"input": "count to 2000", "background": True}
    with httpx.Client(timeout=SECONDS) as client:
        with client.stream(
            "POST", f"{api}/stream", json=body, headers=headers
        ) as response:
            run_id = response.headers["X-Run-Id"]
            token = client.post(f"{api}/runs/{run_id}/token", headers=headers).json()
            secrets.register("the token of a run", token["token"])
            url = f"{api}/runs/{run_id}/events?after=3&token={token['token']}"
            with client.stream("GET", url) as reading:
                assert reading.status_code == 200
                following = frames(reading)
                next(frame for frame in following if frame.event == "content")
                ended = server.run("manage.py", "revoke_api_key", key.split("_")[1])
                assert ended.returncode == 0, ended.stderr
                last = [*following][-2]
                assert last.data["metadata"]["code"] == "unauthenticated"
            last = [*frames(response)][-2]
            assert last.data["metadata"]["code"] == "unauthenticated"
        wrong = url.replace("/events?", "?")
        assert client.get(wrong, headers=headers).status_code == 401
        for refused in (
            client.get(url),
            client.get(wrong),
            client.get(f"{api}/conversations", headers=headers),
            client.get(f"{api}/conversations", headers={"X-API-Key": key}),
        ):
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == "Bearer"
            assert key[-43:] not in refused.text
    server.send_signal(signal.SIGTERM)
    assert server.ends_within(SECONDS)
    log = server.log.read_text()
    for path in ("/events", ""):
        assert f"/runs/{run_id}{path}?after=3&token=***" in log
    for secret in (key[-43:], token["token"], quote(token["token"], safe="")):
        assert secret not in log
