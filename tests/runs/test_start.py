"""Runs that begin and end at the same moment: as if each had been alone, in few
statements."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from streaming.agent.progress import Progress
from streaming.agents.loops import make_loops
from streaming.event_log import OwnershipLost
from streaming.exceptions import ConversationBusy, IdempotencyConflict, RateLimited
from streaming.messages import Message, TextPart, user_message
from streaming.models import (
    Conversation,
    ConversationText,
    LogState,
    Organization,
    Run,
    RunStatus,
)
from streaming.models import Message as MessageRow
from streaming.principals import Principal
from streaming.runs import store
from streaming.runs.start import RunDefaults, RunRequest, StartResult, start_runs
from streaming.storage import database
from tests.writer import busy_writer

pytestmark = pytest.mark.usefixtures("transactional_db")

TERMS = RunDefaults(worker="here", agents=make_loops(), history_chars=1000)


def enqueue(runs: Sequence[Run]) -> None:
    """Do nothing, as the executor in the process."""


def ask(text: str = "Hi", org_id: str = "acme", **fields: str) -> RunRequest:
    return RunRequest(input=text, principal=Principal(org_id), **fields)  # type: ignore[arg-type]  # mypy takes fields for any field


def ending(run: Run, answer: str) -> tuple[store.RunResult, LogState]:
    progress = Progress(messages=[Message("assistant", [TextPart(answer)])])
    assignment = store.OwnedRun.of(run)
    return store.RunResult(assignment, progress, None, 0), LogState.COMPACTED


def stored_messages() -> list[tuple[str, str, object]]:
    rows = MessageRow.objects.order_by("conversation__title", "id")
    return list(rows.values_list("conversation__title", "role", "parts"))


async def at_once(work: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Return the results or errors of calls that waited for the writer together."""
    async with busy_writer():
        tasks = [asyncio.create_task(each) for each in work]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def create(*requests: RunRequest, terms: RunDefaults = TERMS) -> list[Any]:
    return await at_once(
        [
            database.execute_write_batched(start_runs, request, terms, enqueue)
            for request in requests
        ]
    )


def test_runs_begin_in_few_statements_however_many_they_are() -> None:
    Conversation.objects.create(
        organization=Organization.objects.create(org_id="old"), conversation_id="c"
    )
    for count in (1, 20):
        requests = [ask(f"{n} of {count}", f"org {n % 3}") for n in range(count)]
        with CaptureQueriesContext(connection) as queries:
            created = start_runs(requests, TERMS, enqueue)
        tables = [q["sql"].split('"')[1] for q in queries if "INSERT" in q["sql"]]
        written = {table: tables.count(table) for table in tables}
        # Rows whose keys are not needed are recorded one by one, but sent together.
        assert written.pop("streaming_conversation") == 1
        assert written.pop("streaming_organization", 1) == 1
        assert [c.run.input for c in created] == [r.input for r in requests]
    for each in created:
        stored = Run.objects.select_related("organization", "conversation")
        found = stored.get(pk=each.run.pk)
        assert found.organization.org_id == each.run.organization.org_id
        assert found.conversation == each.run.conversation
        assert each.history
        assert each.history() == [user_message(each.run.input)]


def test_the_text_for_the_search_is_written_once_for_a_conversation() -> None:
    statements: list[int] = []
    for question in ("Why is the sky blue?", "And the sea?"):
        with CaptureQueriesContext(connection) as queries:
            [started] = start_runs([ask(question, conversation_id="c")], TERMS, enqueue)
        store.finish_runs([ending(started.run, "Because.")])
        sent = [q["sql"] for q in queries if "SAVEPOINT" not in q["sql"]]
        statements.append(len(sent))
        written = sum("conversationtext" in sql for sql in sent)
        assert written == (question == "Why is the sky blue?")
    assert statements == [6, 5]  # the first one also inserts the organization
    assert ConversationText.objects.get().text == "why is the sky blue?"


async def test_each_gets_a_run_in_its_own_conversation() -> None:
    await create(ask("first", conversation_id="c"))
    await database.execute_write(
        lambda: store.finish_runs([ending(Run.objects.get(), "yes")])
    )
    results = await create(
        ask("new"),
        ask("second", conversation_id="c"),
        ask("same name", "umbrella", conversation_id="c"),
        ask("named", conversation_id="d"),
    )
    histories = [[m.text for m in created.history()] for created in results]
    assert histories == [["new"], ["first", "yes", "second"], ["same name"], ["named"]]
    places = [
        (created.run.organization.org_id, created.run.conversation.conversation_id)
        for created in results
    ]
    assert places[1:] == [("acme", "c"), ("umbrella", "c"), ("acme", "d")]
    assert await Organization.objects.acount() == 2
    assert await Conversation.objects.acount() == 4


async def test_of_two_in_one_conversation_one_finds_it_busy() -> None:
    for name in ("new", "known"):
        if name == "known":
            await Conversation.objects.acreate(
                organization=await Organization.objects.aget(), conversation_id=name
            )
        same = [ask(str(n), conversation_id=name) for n in range(2)]
        first, second, other = await create(*same, ask("other"))
        assert isinstance(second, ConversationBusy)
        assert second.run_id == first.run.id
        assert other.run.input == "other"


async def test_of_two_with_one_key_both_get_the_same_run() -> None:
    same = ask(idempotency_key="k", request_hash="h")
    first, again, other, conflict = await create(
        same, same, ask(), ask("else", idempotency_key="k", request_hash="another")
    )
    assert again.run.id == first.run.id != other.run.id
    assert again.history is None
    assert isinstance(conflict, IdempotencyConflict)
    assert await Run.objects.acount() == 2


async def test_of_more_than_may_be_there_some_are_refused() -> None:
    terms = RunDefaults(
        worker="here", agents=make_loops(), history_chars=9, max_runs_per_org=2
    )
    results = await create(*[ask()] * 3, ask("other", "umbrella"), terms=terms)
    kinds = [type(result) for result in results]
    assert kinds == [StartResult, StartResult, RateLimited, StartResult]


def test_runs_end_together_each_as_it_ended() -> None:
    runs = [c.run for c in start_runs([ask(str(n)) for n in range(3)], TERMS, enqueue)]
    store.finish_runs([ending(run, f"answer {run.input}") for run in reversed(runs)])
    assert stored_messages() == [
        (str(n), role, [{"type": "text", "text": text}])
        for n in range(3)
        for role, text in (("user", str(n)), ("assistant", f"answer {n}"))
    ]
    for run in runs:
        conversation = run.conversation
        run.refresh_from_db()
        assert run.status == RunStatus.COMPLETED
        before = conversation.updated_at
        conversation.refresh_from_db()
        assert conversation.updated_at > before


async def test_a_run_that_was_lost_takes_no_other_along() -> None:
    results = await create(*(ask(str(n)) for n in range(3)))
    runs = [created.run for created in results]
    await Run.objects.filter(pk=runs[1].pk).aupdate(worker="another")

    def finish(ends: Sequence[tuple[store.RunResult, LogState]]) -> list[None]:
        store.finish_runs(ends)
        return [None] * len(ends)

    ended = await at_once(
        [database.execute_write_batched(finish, ending(r, "yes")) for r in runs]
    )
    assert [type(result) for result in ended] == [type(None), OwnershipLost, type(None)]
    statuses = [run.status async for run in Run.objects.order_by("input")]
    assert statuses == ["completed", "running", "completed"]
    assert [role for _, role, _ in await database.execute_read(stored_messages)] == [
        "user",
        "assistant",
        "user",
        "user",
        "assistant",
    ]
