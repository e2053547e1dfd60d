"""The endpoint of metrics: its token, its forms, and its figures after real runs."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from streaming import runs
from streaming.models import Run
from streaming.storage import database
from streaming.telemetry import metrics
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api, Response
from tests.conftest import ChangeSettings
from tests.event_log.test_database_log import make_run

TOKEN = "only-for-scrapes"
BEARER = {"authorization": f"Bearer {TOKEN}"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def exported(agent_settings: ChangeSettings, tmp_path: Path) -> Iterator[Path]:
    """Metrics with a token, shared in a directory of the test's own."""
    agent_settings(metrics_token=TOKEN, metrics_dir=str(tmp_path))
    yield tmp_path


async def scrape(api: Api) -> dict[str, float]:
    """Return the values of a scrape by their names and labels, without the process."""
    response = await api.get("/metrics", **BEARER)
    assert response.status == 200
    return values(response.body.decode())


def values(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "pid"}
            shown = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
            key = sample.name.removeprefix(metrics.PREFIX) + f"{{{shown}}}"
            found[key] = found.get(key, 0) + sample.value
    return found


async def test_without_a_token_in_the_settings_there_are_no_metrics(api: Api) -> None:
    assert (await api.get("/metrics", **BEARER)).status == 404


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "ü"]
)
async def test_only_the_token_opens_the_metrics(api: Api, header: str) -> None:
    """Not even a caller with all scopes in its organization: `open` gives them."""
    headers = {"authorization": header} if header else {}
    refused = await api.get("/metrics", **headers)
    assert (refused.status, refused.json["code"]) == (401, "unauthenticated")


@pytest.mark.usefixtures("exported")
async def test_a_run_is_counted_with_its_end_its_tokens_and_its_tools(api: Api) -> None:
    before = await scrape(api)
    ended = await api.post(f"{API}/run", {"input": "What is 12 * 12?"})
    assert ended.status == 200
    after = await scrape(api)

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    engine = "agent=Agent,model=demo-1"
    assert grown(f"runs_total{{{engine},reason=end_turn,status=completed}}") == 1
    assert grown(f"run_seconds_count{{{engine}}}") == 1
    assert grown(f"first_token_seconds_count{{{engine}}}") == 1
    assert grown("attempts_total{agent=Agent,kind=first}") == 1
    assert grown("tool_seconds_count{outcome=completed,tool=calculator}") == 1
    call = "model_call_seconds_count{model=demo-1,outcome={},provider=demo}"
    assert grown(call.replace("{}", "tool_use")) == 1
    assert grown(call.replace("{}", "end_turn")) == 1
    usage = ended.json["usage"]
    assert (
        grown("tokens_total{agent=Agent,kind=input,model=demo-1}")
        == (usage["input_tokens"])
    )
    assert grown("log_write_seconds_count{}") > 0
    assert after["executing_runs{}"] == 0
    assert after["database_up{}"] == 1


@pytest.mark.usefixtures("exported", "model")
async def test_errors_of_the_provider_are_counted_by_their_code(
    api: Api, upstream: StandInProvider
) -> None:
    before = await scrape(api)
    upstream.reply(Reply(status=429, body=b'{"error": {"message": "Slow down."}}'))
    await api.post(f"{API}/run", {"input": "Hi"})
    after = await scrape(api)
    code = "provider_rate_limited"
    for name in (
        f"provider_errors_total{{code={code},model=test-model,provider=openai}}",
        f"runs_total{{agent=Agent,model=test-model,reason={code},status=failed}}",
    ):
        assert after.get(name, 0) - before.get(name, 0) == 1


@pytest.mark.usefixtures("exported", "model")
async def test_open_streams_and_executing_runs_are_counted_as_long_as_they_are(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal", "lo"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content", 2)
        during = await scrape(api)
        assert (during["open_streams{}"], during["executing_runs{}"]) == (1, 1)
        assert during["active_runs{status=running}"] == 1
        await runs.get_service().cancel(*[run.id async for run in Run.objects.all()])
        await stream.end()
    after = await scrape(api)
    assert (after["open_streams{}"], after["executing_runs{}"]) == (0, 0)
    assert after["active_runs{status=running}"] == 0


@pytest.mark.usefixtures("exported")
async def test_the_queue_is_counted_and_its_age(api: Api) -> None:
    run = await database.execute_write(make_run)
    await Run.objects.filter(pk=run.pk).aupdate(
        status="queued", agent="none-has-it", heartbeat_at="2020-01-01T00:00Z"
    )
    waiting = await database.execute_write(make_run)
    await Run.objects.filter(pk=waiting.pk).aupdate(
        status="pending", conversation=run.conversation_id
    )
    found = await scrape(api)
    assert found["active_runs{status=queued}"] == 1
    assert found["active_runs{status=pending}"] == 1
    assert found["queue_oldest_seconds{}"] > 1_000_000


@pytest.mark.usefixtures("exported")
async def test_both_forms_of_prometheus_are_valid(api: Api) -> None:
    await api.post(f"{API}/run", {"input": "Hi"})
    plain = await api.get("/metrics", **BEARER)
    assert plain.headers["content-type"].startswith("text/plain")
    assert list(text_string_to_metric_families(plain.body.decode()))
    newer = await api.get("/metrics", accept=OPENMETRICS, **BEARER)
    assert newer.headers["content-type"].startswith("application/openmetrics-text")
    parse = openmetrics.text_string_to_metric_families
    assert list(parse(newer.body.decode()))  # type: ignore[no-untyped-call]  # the library has no types here


@pytest.mark.usefixtures("exported")
async def test_no_label_has_a_value_that_a_caller_chooses(api: Api) -> None:
    body = {
        "input": "marker-a",
        "org_id": "marker-b",
        "conversation_id": "marker-c",
        "context": {"marker-d": "marker-e"},
    }
    started = await api.post(f"{API}/run", body)
    scraped: Response = await api.get("/metrics", **BEARER)
    text = scraped.body.decode()
    assert "marker" not in text
    assert started.headers["x-run-id"] not in text
    names = set(re.findall(r"(\w+)=\"", text))
    assert names <= {
        *("agent", "model", "status", "reason", "kind", "outcome", "provider"),
        *("code", "tool", "state", "le", "pid"),
    }


@pytest.mark.usefixtures("exported")
async def test_a_lost_lease_and_the_return_to_the_queue_are_counted(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_lease_seconds=1.0)
    await api.get("/ready")  # the process serves from now on
    before = await scrape(api)
    run = await database.execute_write(make_run)
    await Run.objects.filter(pk=run.pk).aupdate(
        status="running",
        worker="dead",
        attempt=1,
        restarts=True,
        heartbeat_at="2020-01-01T00:00Z",
    )
    names = "lost_leases_total{outcome=requeued}", "restarts_total{reason=lost_lease}"
    async with asyncio.timeout(SECONDS):
        while True:
            after = await scrape(api)
            if all(after.get(n, 0) - before.get(n, 0) == 1 for n in names):
                break
            await asyncio.sleep(0.1)  # no event tells that a lease was found expired
