"""The limits of callers, through the API."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpRequest

from streaming import runs
from streaming.models import Account, Limit, Message, Organization, Reservation, Run
from streaming.principals import Principal
from streaming.runs import RunRequest
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.api.test_cancel import until
from tests.client import API, SECONDS, Api, all_runs_end
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model")

PRICE = ["test-model=10/20"]
#: The beginning of a tool call.
CALL = (
    chat.tool_calls(("c", "calculator", '{"expression": "1+')).body.partition(b"\n\n")[
        0
    ]
    + b"\n\n"
)


async def member(request: HttpRequest) -> Principal:
    """Authenticate by a header: `user@organization`."""
    user, _, org_id = request.headers.get("X-Member", "").partition("@")
    return Principal(org_id or "default", user=user)


@pytest.fixture(autouse=True)
def authenticated(agent_settings: ChangeSettings) -> None:
    agent_settings(authentication=f"{__name__}.member", llm_max_tokens=1000)


async def limit(kind: str = "organization", name: str = "", **values: Any) -> None:  # noqa: ANN401
    await Limit.objects.acreate(kind=kind, name=name, **values)


async def used() -> dict[str, tuple[int, int]]:
    rows = Account.objects.values_list("period", "tokens", "reserved_tokens")
    return {
        period.split()[0]: (settled, reserved)
        async for period, settled, reserved in rows
    }


async def test_the_use_of_a_run_is_settled(api: Api, upstream: StandInProvider) -> None:
    await limit(tokens_per_day=100_000)
    call = chat.tool_calls(("c", "calculator", {"expression": "1+1"}))
    upstream.reply(call, chat.answer("2"))
    assert (await api.run("Hi")).status == 200
    assert await used() == {"day": (30, 0)}
    assert not await Reservation.objects.aexists()


async def test_a_used_up_budget_refuses_the_next_run(
    api: Api, upstream: StandInProvider
) -> None:
    await limit(tokens_per_day=10_000)
    upstream.reply(chat.answer("a"))
    assert (await api.run("Hi")).status == 200
    await Account.objects.aupdate(tokens=10_000)
    refused = await api.run("Hi")
    assert (refused.status, refused.json["code"]) == (429, "budget_exhausted")
    assert refused.json["error"] == (
        "The limit tokens_per_day of this organization is reached."
    )
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert await Run.objects.acount() == 1


async def test_a_budget_that_a_call_could_exceed_ends_the_run(
    api: Api, upstream: StandInProvider
) -> None:
    await limit(tokens_per_month=500)  # a response may have 1,000
    stream = await api.stream("Hi")
    assert stream.events == ["connected", "complete", "done"]
    assert stream.frames[1].data["metadata"]["stop_reason"] == "budget"
    assert upstream.requests == []
    run = await Run.objects.aget()
    assert (run.status, run.stop_reason) == ("completed", "budget")


async def test_a_run_ends_between_two_calls_and_keeps_its_results(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    await limit(tokens_per_day=5000)
    call = chat.tool_calls(("c", "calculator", {"expression": "1+1"}), text="I count.")
    little, much = (b'"completion_tokens": %d' % tokens for tokens in (5, 900))
    said = Reply(call.body.replace(little, much))
    upstream.reply(said, said, said, said, chat.answer("x"))
    stream = await api.stream("Hi", max_iterations=10)
    assert stream.frames[-2].data["metadata"]["stop_reason"] == "budget"
    settled, reserved = (await used())["day"]
    assert (reserved, settled) == (0, 910 * len(upstream.requests))
    assert 1 <= len(upstream.requests) < 5
    roles = [message.role async for message in Message.objects.all()]
    assert roles == ["user", *["assistant", "tool"] * len(upstream.requests)]


async def cancelled(api: Api, upstream: StandInProvider, sent: bytes) -> Account:
    """Cancel a run when the model is called; return the account as it was then."""
    upstream.reply(Reply(sent, end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content" if b"one" in sent else "connected")
        await until(lambda: bool(upstream.requests))
        before = await Account.objects.aget()
        run_id = stream.response.headers["x-run-id"]
        await api.post(f"{API}/runs/{run_id}/cancel")
        await stream.end()
    return before


@pytest.mark.parametrize("sent", [chat.pieces(""), CALL, chat.pieces("one two")])
async def test_a_cancelled_call_is_charged_with_all_that_it_may_have_written(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings, sent: bytes
) -> None:
    """The provider counts at the end; until then reasoning and arguments are hidden."""
    agent_settings(model_prices=PRICE)
    await limit(tokens_per_day=100_000, cost_per_day=Decimal(5))
    before = await cancelled(api, upstream, sent)
    after = await Account.objects.aget()
    assert before.reserved_tokens > 1000
    assert (after.tokens, after.reserved_tokens) == (before.reserved_tokens, 0)
    assert (after.cost, after.reserved_cost) == (before.reserved_cost, 0)
    # The run itself has an estimate of what was shown.
    run = await Run.objects.aget()
    assert 0 < run.input_tokens < after.tokens - 1000
    assert run.output_tokens < 10
    assert run.cost and run.cost < Decimal(after.cost) / 10**9


async def test_a_cancelled_call_is_charged_with_the_input_that_was_counted(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(model_prices=PRICE)
    await limit(tokens_per_day=100_000)
    usage = b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}'
    sent = b"data: " + usage + b"\n\n" + chat.pieces("one")
    await cancelled(api, upstream, sent)
    after = await Account.objects.aget()
    assert (after.tokens, after.cost) == (1007, 7 * 10_000 + 1000 * 20_000)


async def test_a_failed_call_is_charged_with_all_that_it_may_have_written(
    api: Api, upstream: StandInProvider
) -> None:
    await limit(tokens_per_day=100_000)
    upstream.reply(Reply(chat.pieces("one two three"), end="cut"))
    assert (await api.run("Hi")).status == 502
    settled, reserved = (await used())["day"]
    assert reserved == 0
    assert settled > 1000


@pytest.mark.parametrize(
    ("changes", "sent", "status"),
    [
        ({"llm_first_token_timeout_seconds": 0.2}, chat.pieces(""), 504),
        ({"llm_max_arguments_chars": 5}, CALL, 200),
        ({"llm_max_response_chars": 5}, chat.pieces("one two three"), 200),
    ],
)
async def test_a_call_that_the_app_cuts_off_is_charged_with_its_reserved_output(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    changes: dict[str, float],
    sent: bytes,
    status: int,
) -> None:
    agent_settings(**changes)
    await limit(tokens_per_day=100_000)
    upstream.reply(Reply(sent, end="hang"))
    assert (await api.run("Hi")).status == status
    settled, reserved = (await used())["day"]
    assert reserved == 0
    assert settled > 1000


async def test_a_refused_call_is_charged_with_its_input_only(
    api: Api, upstream: StandInProvider
) -> None:
    await limit(tokens_per_day=100_000)
    upstream.reply(Reply(b"{}", status=500, content_type="application/json"))
    assert (await api.run("Hi")).status == 502
    settled, reserved = (await used())["day"]
    assert reserved == 0
    assert 0 < settled < 1000


async def test_costs_are_counted_and_shown(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(model_prices=PRICE)
    await limit(cost_per_day=Decimal("0.5"))
    upstream.reply(chat.answer("a"), chat.answer("b"))
    stream = await api.stream("Hi")
    cost = 10 * 10e-6 + 5 * 20e-6
    shown = stream.frames[-2].data["metadata"]["cost"]
    assert shown == {"amount": f"{cost:.8f}", "currency": "USD"}
    run = await Run.objects.aget()
    assert run.cost == Decimal(f"{cost:.8f}")
    assert (await Account.objects.aget()).cost == 200_000
    detail = await api.get(f"{API}/runs/{run.id}")
    assert detail.json["cost"] == shown
    assert (await api.run("Hi")).json["cost"] == shown


async def test_a_cost_that_no_model_has_can_be_stored(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(model_prices=["test-model=1000/1000"])
    said, counted = b'"completion_tokens": 5', b'"completion_tokens": 2147483647'
    upstream.reply(Reply(chat.answer("a").body.replace(said, counted)))
    answer = await api.run("Hi")
    assert (answer.status, answer.json["output"]) == (200, "a")
    assert answer.json["cost"]["amount"] == "999999.99999999"
    assert (await Run.objects.aget()).cost == Decimal("999999.99999999")


async def test_a_run_without_a_known_price_has_no_cost(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("a"))
    stream = await api.stream("Hi")
    assert "cost" not in stream.frames[-2].data["metadata"]
    assert (await Run.objects.aget()).cost is None


async def test_a_cost_limit_needs_a_known_price(api: Api) -> None:
    await limit(cost_per_month=Decimal(5))
    refused = await api.run("Hi")
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert "MODEL_PRICES" in refused.json["error"]
    assert not await Run.objects.aexists()


async def test_a_queued_run_needs_a_known_price_too(
    api: Api, upstream: StandInProvider
) -> None:
    await limit(cost_per_month=Decimal(5))
    request = RunRequest(input="Hi", principal=Principal("acme"), background=True)
    queued = await sync_to_async(runs.enqueue)(request)
    await runs.get_service().execute_queued(queued.id)
    run = await Run.objects.aget()
    assert (run.status, run.error_code) == ("failed", "forbidden")
    assert "MODEL_PRICES" in run.error_message
    assert upstream.requests == []


async def test_runs_at_a_time(api: Api, upstream: StandInProvider) -> None:
    await limit("user", concurrent_runs=1)
    upstream.reply(Reply(chat.pieces("x"), end="hang"), chat.answer("a"))
    alice, bob = {"x_member": "alice@acme"}, {"x_member": "bob@acme"}
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}, alice) as stream:
        await stream.until("content")
        refused = await api.post(f"{API}/run", {"input": "Hi"}, **alice)
        assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        assert "concurrent_runs of this user" in refused.json["error"]
        other = await api.post(f"{API}/run", {"input": "Hi"}, **bob)
        assert other.status == 200
        run_id = stream.response.headers["x-run-id"]
        await api.post(f"{API}/runs/{run_id}/cancel", **alice)
        await stream.end()
    upstream.reply(chat.answer("b"))
    assert (await api.post(f"{API}/run", {"input": "Hi"}, **alice)).status == 200


@pytest.mark.usefixtures("early_in_minute")
async def test_a_repeated_request_is_no_further_run(
    api: Api, upstream: StandInProvider
) -> None:
    await limit(runs_per_minute=1)
    upstream.reply(chat.answer("a"))
    body, key = {"input": "Hi", "conversation_id": "c"}, {"idempotency_key": "k"}
    first = await api.post(f"{API}/run", body, **key)
    again = await api.post(f"{API}/run", body, **key)
    assert (first.status, again.status) == (200, 200)
    assert first.json["run_id"] == again.json["run_id"]
    refused = await api.run("Hi")
    assert (refused.status, refused.json["code"]) == (429, "rate_limited")


@pytest.mark.usefixtures("early_in_minute")
async def test_the_most_specific_limit_applies(
    api: Api, upstream: StandInProvider
) -> None:
    acme = await Organization.objects.acreate(org_id="acme")
    await limit("user", runs_per_minute=0)
    await limit("user", "alice", runs_per_minute=1)
    await limit("organization", organization=acme, runs_per_minute=2)
    upstream.reply(chat.answer("a"), chat.answer("b"))

    async def ask(name: str) -> int:
        return (await api.post(f"{API}/run", {"input": "Hi"}, x_member=name)).status

    assert [await ask("alice@acme"), await ask("alice@acme")] == [200, 429]
    assert await ask("bob@acme") == 429
    assert await ask("@umbrella") == 200
    await all_runs_end()


async def test_many_at_once_never_exceed_the_budget(
    api: Api, upstream: StandInProvider
) -> None:
    await limit(tokens_per_day=3500)
    go_on = asyncio.Event()
    answer = Reply.of([chat.pieces("x"), chat.ending()], held=go_on)
    upstream.reply(*[answer] * 20)
    tasks = [asyncio.create_task(api.stream("Hi")) for _ in range(20)]
    # The runs that reserve something wait for the model: the first end is a refusal.
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=SECONDS)
    go_on.set()
    streams = await asyncio.gather(*tasks)
    reasons = [s.frames[-2].data["metadata"]["stop_reason"] for s in streams]
    assert set(reasons) == {"budget", "end_turn"}
    settled, reserved = (await used())["day"]
    assert (reserved, settled) == (0, 15 * reasons.count("end_turn"))
