"""The limits of failed logins hold across the processes of a server."""

import httpx

from agentsite.login_throttle import MAX_PER_NAME_AND_ADDRESS
from tests.processes.conftest import Make
from tests.servers import UVICORN

LOGIN = "/admin/login/"


def test_failures_are_counted_for_all_processes_together(make: Make) -> None:
    servers = [make(*UVICORN) for _ in range(2)]
    statuses = []
    for server in servers:
        server.start()
    for number in range(MAX_PER_NAME_AND_ADDRESS + 2):
        with httpx.Client(base_url=servers[number % 2].url, timeout=60) as client:
            client.get(LOGIN)
            form = {
                "username": "root",
                "password": "the wrong password",
                "csrfmiddlewaretoken": client.cookies["csrftoken"],
            }
            statuses.append(client.post(LOGIN, data=form).status_code)
    assert statuses == [*[200] * MAX_PER_NAME_AND_ADDRESS, 429, 429]
    log = "".join(server.log.read_text() for server in servers)
    assert log.count("login failed") == MAX_PER_NAME_AND_ADDRESS
    assert log.count("login refused") == 2
    assert '"address": "127.0.0.1"' in log
    assert "the wrong password" not in log
