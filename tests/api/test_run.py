"""`POST /run`: one JSON response."""

import pytest

from streaming.models import Run
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model")


async def test_the_answer_is_as_the_contract_says(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        chat.tool_calls(("a", "calculator", {"expression": "6*7"}), text="Well, "),
        chat.answer("42"),
    )
    response = await api.run("6*7?", org_id="acme", conversation_id="c")
    assert response.status == 200
    answer = response.json
    assert answer.pop("execution_summary").pop("execution_time_ms") >= 0
    run = await Run.objects.aget()
    assert response.headers["x-run-id"] == run.id
    assert answer == {
        "output": "42",
        "agent": "Agent",
        "usage": {
            "input_tokens": 20,
            "output_tokens": 10,
            "total_tokens": 30,
            "reasoning_tokens": 0,
        },
        "run_id": run.id,
        "org_id": "acme",
        "conversation_id": "c",
    }
    assert (run.llm_calls, run.tool_calls, run.used_tools) == (2, 1, ["calculator"])


async def test_a_failing_provider_is_an_http_error(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(b"{}", 401, "application/json"))
    response = await api.run("Hi")
    assert response.status == 502
    assert response.json["code"] == "provider_refused_key"
    assert response.headers["x-run-id"]


async def test_a_provider_that_hangs_is_a_timeout(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(llm_first_token_timeout_seconds=0.3)
    upstream.reply(Reply(end="hang"))
    response = await api.run("Hi")
    assert (response.status, response.json["code"]) == (504, "provider_timeout")


async def test_a_run_may_restart_if_its_reader_accepts_that(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("4")] * 4)
    for endpoint, body, expected in (
        ("run", {}, True),
        ("run", {"restarts": False}, False),
        ("stream", {}, False),
        ("stream", {"restarts": True}, True),
    ):
        response = await api.post(f"{API}/{endpoint}", {"input": "2 + 2", **body})
        run = await Run.objects.aget(pk=response.headers["x-run-id"])
        assert run.restarts is expected
    refused = await api.post(f"{API}/run", {"input": "2 + 2", "restarts": "yes"})
    assert (refused.status, refused.json["details"][0]["field"]) == (400, "restarts")
