"""The examples of docs/comparison.md work as they stand there; ours is not longer."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from streaming.testing.provider import Reply, Request, StandInProvider
from streaming.testing.server import Server, clean_environment
from tests import chat
from tests.packaging.conftest import DJANGO, UV, MakeVenv, run
from tests.providers import openai_streams as responses
from tests.servers import ROOT, SECONDS

pytestmark = pytest.mark.xdist_group("tutorial")

PAGE = (ROOT / "docs" / "comparison.md").read_text()
BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (.+?) \| (\d+) \|", re.MULTILINE)
OURS, DJANGO_AG_UI, PYDANTIC_AI = "This package", "django-ag-ui", "Pydantic AI"
#: The versions that the page names.
PEERS = (
    "django-ag-ui[openai]==0.70.*",
    "fastapi",
    "pydantic-ai-slim[ag-ui,openai]==2.68.*",
    "uvicorn",
)
APPLICATIONS = {
    OURS: "mysite.asgi:application",
    DJANGO_AG_UI: "mysite.asgi:application",
    PYDANTIC_AI: "agents:app",
}
MODEL = """
class Order(models.Model):
    number = models.PositiveIntegerField(unique=True)
    status = models.CharField(max_length=40)
"""
#: Fills the database, and prints the key of a session.
FILL = """
import django

django.setup()

from django.contrib.auth.models import User
from django.test import Client

from shop.models import Order

Order.objects.create(number=7, status="on its way")
client = Client()
client.force_login(User.objects.create_user("ada"))
print(client.cookies["sessionid"].value)
"""
ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "mysite.settings", "OPENAI_API_KEY": "none"}
QUESTION = "Where is order 7?"
TOKEN = "a" * 32
RUN_AGENT_INPUT = {
    "threadId": "thread",
    "runId": "run",
    "state": {},
    "messages": [{"id": "1", "role": "user", "content": QUESTION}],
    "tools": [],
    "context": [],
    "forwardedProps": {},
}


def examples() -> Mapping[str, list[tuple[str, str]]]:
    """Return the blocks of each section, as names and texts of files."""
    sections = (part.partition("\n") for part in PAGE.split("\n## ")[1:])
    return {title: BLOCK.findall(text) for title, _, text in sections}


def lines_of(name: str) -> int:
    """Count the lines of an example that are not blank."""
    texts = [text for _, text in examples()[name]]
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


def test_ours_is_not_longer_and_the_page_tells_the_lines() -> None:
    counted = [lines_of(name) for name in APPLICATIONS]
    assert counted[0] == min(counted)
    assert [int(lines) for _, lines in ROW.findall(PAGE)] == counted


def reply_to(request: Request) -> Reply:
    """Call the tool; answer when its result is there."""
    is_answer = b"on its way" in request.body
    if request.path.endswith("/chat/completions"):
        call = ("call_1", "order_status", {"number": 7})
        return chat.answer("It is on its way.") if is_answer else chat.tool_calls(call)
    item = _message() if is_answer else _call()
    parts = responses.text_deltas("It is on its way.") if is_answer else []
    return Reply(
        responses.events(
            {"type": "response.created", "response": _response("in_progress")},
            responses.event("output_item.added", item=item),
            *parts,
            responses.item_done(item),
            {"type": "response.completed", "response": _response("completed", item)},
        )
    )


def _call() -> dict[str, object]:
    return responses.call_item(json.dumps({"number": 7}), name="order_status")


def _message() -> dict[str, object]:
    text = {"type": "output_text", "text": "It is on its way.", "annotations": []}
    about = {"id": "msg_1", "type": "message", "role": "assistant"}
    return {**about, "status": "completed", "content": [text]}


def _response(status: str, *output: object) -> dict[str, object]:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }
    about = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt"}
    return {**about, "status": status, "output": [*output], "usage": usage}


def make_project(name: str, directory: Path, python: str) -> str:
    """Make the project with the blocks of an example; return the key of a session."""
    run([python, "-m", "django", "startproject", "mysite", "."], directory)
    run([python, "-m", "django", "startapp", "shop"], directory)
    files = [
        ("mysite/settings.py", 'INSTALLED_APPS += ["shop"]\n'),
        ("shop/models.py", MODEL),
        *examples()[name],
    ]
    for path, text in files:
        with (directory / path).open("a") as file:
            file.write(f"\n\n{text}")
    manage = [python, "manage.py"]
    run([*manage, "makemigrations", "shop"], directory, **ENVIRONMENT)
    run([*manage, "migrate", "--verbosity", "0"], directory, **ENVIRONMENT)
    (directory / "fill.py").write_text(FILL)
    filled = run([python, "fill.py"], directory, **ENVIRONMENT)
    return filled.strip().splitlines()[-1]


async def post(url: str, body: object, cookies: dict[str, str]) -> httpx.Response:
    """Ask as a browser does, with the cookies of its user."""
    headers = {"X-CSRFToken": TOKEN, "Accept": "text/event-stream"}
    async with httpx.AsyncClient(
        cookies=cookies, headers=headers, timeout=SECONDS
    ) as client:
        return await client.post(url, json=body)


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the other packages."""
    venv = tmp_path_factory.mktemp("peers") / "venv"
    run([*UV, "venv", "--quiet", str(venv)], venv.parent)
    install = [*UV, "pip", "install", "--quiet", "--python", str(venv / "bin/python")]
    run([*install, *PEERS], venv.parent)
    return venv


@pytest.mark.parametrize("name", APPLICATIONS)
async def test_the_example_answers_with_the_data_of_the_project(
    request: pytest.FixtureRequest, make_venv: MakeVenv, tmp_path: Path, name: str
) -> None:
    is_ours = name == OURS
    venv = make_venv(DJANGO[0]) if is_ours else request.getfixturevalue("peers")
    python = str(venv / "bin" / "python")
    session = make_project(name, tmp_path, python)
    command = [python, "-m", "uvicorn", APPLICATIONS[name], "--port", "{port}"]
    path = "api/v1/agent/stream" if is_ours else ""
    body = {"input": QUESTION} if is_ours else RUN_AGENT_INPUT
    async with StandInProvider(reply_to) as model:
        base = {"OPENAI_BASE_URL": f"{model.url}/v1"}
        environment = clean_environment(**ENVIRONMENT, **base)
        with Server(command, tmp_path, environment=environment, cwd=tmp_path) as server:
            url = f"{server.url}/agents/{path}"
            token = {"csrftoken": TOKEN}
            answered = await post(url, body, {**token, "sessionid": session})
            refused = await post(url, body, token)
    assert answered.status_code == 200, answered.text
    assert answered.headers["content-type"].startswith("text/event-stream")
    assert answered.text.count("on its way") >= 2, answered.text
    assert len(model.requests) >= 2
    assert QUESTION in model.requests[0].body.decode()
    assert (refused.status_code == 200) == (name == PYDANTIC_AI)
