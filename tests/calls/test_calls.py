"""Agents called by Python code: each call is a durable run."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import AsyncRequestFactory

from streaming import Agent, AgentRun, RunFailed, runs
from streaming.events import Complete, Content, Done, ErrorEvent
from streaming.exceptions import (
    ConversationBusy,
    IdempotencyConflict,
    InvalidRequest,
)
from streaming.models import Conversation, Message, Run
from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.sse import parse
from tests import chat
from tests.client import SECONDS, Api, all_runs_end
from tests.threads import in_thread

USER = User(pk=7, username="alice")


async def test_run_returns_the_ended_run(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hal", "lo"))
    run = await support.run("Hi", user=USER, conversation="faq")
    assert (run.output, run.status, run.stop_reason) == (
        "Hallo",
        "completed",
        "end_turn",
    )
    assert [message.role for message in run.messages] == ["user", "assistant"]
    assert run.messages[1].text == "Hallo"
    assert (run.conversation, run.error, run.cost) == ("faq", None, None)
    assert (
        run.usage.total_tokens == run.usage.input_tokens + run.usage.output_tokens > 0
    )
    stored = await Run.objects.aget()
    assert (stored.id, stored.agent, stored.background) == (run.id, "support", True)
    assert (stored.user, stored.owner) == ("7", "7")
    upstream.reply(chat.answer("again"))
    await support.run("And?", user=USER, conversation="faq")
    sent = upstream.requests[-1].json["messages"]
    assert [m["content"] for m in sent[1:]] == ["Hi", "Hallo", "And?"]


async def test_a_call_continues_after_a_message_or_repeats_an_answer(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer(text) for text in ("a1", "a2", "a3", "a4")])
    first = await support.run("q1", user=USER, conversation="faq")
    end = await Message.objects.alast()
    assert end
    await support.run("q2", user=USER, conversation="faq")

    async def sent(**options: Any) -> list[str]:  # noqa: ANN401
        await support.run(user=USER, conversation="faq", **options)
        return [m["content"] for m in upstream.requests[-1].json["messages"][1:]]

    assert await sent(input="q3", parent_message=end.pk) == ["q1", "a1", "q3"]
    assert await sent(regenerate=first) == ["q1"]
    again = await Run.objects.order_by("created_at", "id").alast()
    assert again
    upstream.reply(chat.answer("a5"))
    run = await support.run(user=USER, conversation="faq", regenerate=again.pk)
    assert [message.text for message in run.messages] == ["q1", "a5"]
    upstream.reply(chat.answer("a6"))
    assert await sent(input="q4", parent_message=0) == ["q4"]
    for options in ({}, {"regenerate": "x"}, {"input": "q", "regenerate": first}):
        with pytest.raises(InvalidRequest):
            await sent(**options)


async def test_a_run_that_fails_raises_its_error_with_the_partial_output(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal"), end="cut"))
    with pytest.raises(RunFailed, match="provider_incomplete") as failed:
        await support.run("Hi")
    assert failed.value.output == "Hal"
    assert failed.value.error.retryable
    assert (await Run.objects.aget()).id == failed.value.run_id


async def test_a_cancelled_caller_cancels_its_run_at_the_provider(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SECONDS) as limit:
            task = asyncio.create_task(support.run("Hi"))
            while not upstream.active:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            limit.reschedule(asyncio.get_running_loop().time())
            await task
    async with asyncio.timeout(SECONDS):
        await upstream.gone.wait()
    assert (await Run.objects.aget()).status == "cancelled"


async def test_start_returns_a_run_to_follow_wait_for_and_cancel(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hal", "lo"), Reply(chat.pieces("x"), end="hang"))
    run = await support.start("Hi")
    assert (run.status, run.output) == ("running", "")
    events = [event async for event in run.events()]
    assert [type(e) for e in events] == [Content, Content, Complete, Done]
    assert isinstance(events[0], Content)
    assert events[0].content == "Hal"
    assert [type(e) async for e in run.events(after=2)] == [Complete, Done]
    await run.refresh()
    assert (run.status, run.output) == ("completed", "Hallo")
    endless = await support.start("Hi")
    await endless.cancel()
    assert (await endless.wait()).status == "cancelled"


async def test_stream_yields_the_events_and_cancels_if_it_is_left(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(
        chat.answer("Hallo"), Reply(status=500), Reply(chat.pieces("x"), end="hang")
    )
    events = [event async for event in support.stream("Hi")]
    assert [type(e) for e in events] == [Content, Complete, Done]
    failed = [type(event) async for event in support.stream("Hi")]
    assert failed == [ErrorEvent, Done]
    left = support.stream("Hi")
    assert isinstance(await anext(left), Content)
    await left.aclose()
    async with asyncio.timeout(SECONDS):
        await upstream.gone.wait()
    newest = await Run.objects.order_by("created_at").alast()
    assert newest
    assert newest.status == "cancelled"


async def test_a_response_resumes_after_the_last_event_id(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hal", "lo"))
    run = await support.start("Hi")

    async def frames(**headers: str) -> list[Any]:
        response = run.response(AsyncRequestFactory().get("/", headers=headers))
        assert response.headers["X-Run-Id"] == run.id
        return parse(b"".join([chunk async for chunk in response]))

    whole = await frames()
    assert [f.event for f in whole][1:] == ["content", "content", "complete", "done"]
    rest = await frames(**{"Last-Event-ID": f"{run.id}:2"})
    assert [f.raw for f in rest[1:]] == [f.raw for f in whole[3:]]
    other = await frames(**{"Last-Event-ID": "another:2"})
    assert len(other) == len(whole)


async def test_tools_receive_the_values_and_the_organization_of_the_call(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(chat.tool_calls(("c1", "basket", {})), chat.answer("Two."))
    run = await support.run("Hi", deps={"articles": 2}, organization="acme")
    assert run.output == "Two."
    result = upstream.requests[-1].json["messages"][-1]
    assert result["content"] == "2 for acme"
    assert (await Run.objects.aget()).deps == {"articles": 2}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"input": " "}, "input"),
        ({"conversation": "a\nb"}, "conversation_id"),
        ({"deps": {"at": object()}}, "deps"),
        ({"deps": float("nan")}, "deps"),
        ({"deps": "\0"}, "deps"),
        ({"deps": "\ud800"}, "deps"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"idempotency_key": "x" * 256}, "Idempotency-Key"),
    ],
)
async def test_invalid_values_are_refused_by_name(
    support: Agent, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest, match=field):
        await support.start(**{"input": "Hi", **options})


async def test_an_agent_that_no_app_declares_cannot_run(shop: ModuleType) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'other'.*agents\.py"):
        await Agent("other").start("Hi")


async def test_a_busy_conversation_is_refused(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    run = await support.start("Hi", conversation="c")
    with pytest.raises(ConversationBusy):
        await support.start("Hi", conversation="c")
    await run.cancel()


async def test_a_repeated_call_joins_the_run_of_its_key(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    calls = [support.run("Hi", idempotency_key="task 1") for _ in range(2)]
    first, second = await asyncio.gather(*calls)
    assert first.id == second.id
    assert second.output == "Hallo"
    with pytest.raises(IdempotencyConflict):
        await support.run("Bye", idempotency_key="task 1")
    assert len(upstream.requests) == 1


async def test_a_caller_with_a_key_leaves_its_run_to_the_next_one(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    held = asyncio.Event()
    upstream.reply(Reply.of([chat.pieces("Hal"), chat.answer("lo").body], held=held))
    task = asyncio.create_task(support.run("Hi", idempotency_key="task 1"))
    while not upstream.active:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    held.set()
    joined = await support.run("Hi", idempotency_key="task 1")
    assert (joined.status, joined.output) == ("completed", "Hallo")


async def test_an_anonymous_user_is_no_user(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    await support.run("Hi", user=AnonymousUser())
    stored = await Run.objects.aget()
    assert (stored.user, stored.owner) == ("", "")


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize(
    "call",
    [
        lambda agent: agent.run_sync("Hi"),
        lambda agent: async_to_sync(agent.run)("Hi"),
        lambda agent: async_to_sync(agent.start)("Hi"),
        lambda agent: agent.stream("Hi"),
    ],
    ids=["run_sync", "run", "start", "stream"],
)
def test_nothing_runs_inside_a_transaction(
    shop: ModuleType, call: Callable[[Agent], object]
) -> None:
    refused = pytest.raises(RuntimeError, match=r"inside transaction\.atomic.*enqueue")
    with refused, transaction.atomic():
        call(shop.support)
    assert not Run.objects.exists()


async def test_synchronous_calls_do_not_block_an_event_loop(support: Agent) -> None:
    with pytest.raises(RuntimeError, match=r"run_sync\(\) would block.*await run"):
        support.run_sync("Hi")
    with pytest.raises(RuntimeError, match=r"enqueue\(\) would block.*await start"):
        support.enqueue("Hi")


async def test_run_sync_in_a_process_that_serves_uses_its_event_loop(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    service = runs.get_service()
    upstream.reply(chat.answer("Hallo"))
    run = await in_thread(support.run_sync, "Hi")
    assert (run.output, run.status) == ("Hallo", "completed")
    assert (await Run.objects.aget()).worker == service.worker.name


@pytest.mark.usefixtures("transactional_db")
def test_run_sync_needs_no_event_loop(shop: ModuleType) -> None:
    run = shop.triage.run_sync("Explain how photosynthesis works")
    assert "light" in run.output
    assert isinstance(run, AgentRun)
    assert Run.objects.get().max_iterations == 2
    again = shop.triage.run_sync("And at night?", conversation=run.conversation)
    assert (again.status, again.conversation) == ("completed", run.conversation)
    assert Conversation.objects.count() == 1


async def test_an_enqueued_run_is_executed_by_a_process_that_serves(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    await User(pk=USER.pk, username=USER.username).asave()
    runs.get_service()
    upstream.reply(chat.answer("Hallo"))

    def enqueue() -> AgentRun:
        with transaction.atomic():
            return support.enqueue("Sum up my week.", user=USER)

    queued = await in_thread(enqueue)
    assert queued.status == "queued"
    assert (await queued.wait()).output == "Hallo"
    await all_runs_end()
