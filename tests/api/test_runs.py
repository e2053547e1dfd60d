"""A run that was started: resumed at any point, read, cancelled; one at a time."""

import asyncio
import gc
import weakref
from collections.abc import Iterable
from contextvars import ContextVar, copy_context
from itertools import islice

import pytest

from streaming import runs
from streaming.agents import registry
from streaming.agents.loops import make_loops
from streaming.api.follow import follow
from streaming.api.schemas import RunBody
from streaming.event_log import stored_log
from streaming.events import Entry
from streaming.messages import user_message
from streaming.models import Message, Run
from streaming.principals import Principal
from streaming.runs import RunRequest, RunService, leases
from streaming.runs.start import RunDefaults, start_runs
from streaming.runs.timings import Timings
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from streaming.wire.native import NativeFormat
from tests import chat
from tests.client import API, SECONDS, Api, Response, all_runs_end
from tests.conftest import ChangeSettings
from tests.faults.database import PERIODIC_READS, FaultyDatabase, install_service
from tests.writer import busy_writer

pytestmark = pytest.mark.usefixtures("model")

SLOW = 0.05


def slow_answer(words: int = 8, delay: float = SLOW) -> Reply:
    body = chat.pieces(*chat.many(words)) + chat.ending()
    return Reply(body, chunk_size=len(body) // words, delay=delay)


def held_answer(go_on: asyncio.Event) -> Reply:
    """Return an answer whose second half waits for the event."""
    return Reply.of([chat.pieces("Hal"), chat.pieces("lo") + chat.ending()], held=go_on)


def logged(response: Response) -> list[bytes]:
    """Return the logged frames of a stream, without those made for a connection."""
    return [frame.raw for frame in response.frames if frame.event != "connected"]


def framed(run_id: str, entries: Iterable[Entry]) -> list[bytes]:
    """Return entries as the frames of a stream."""
    return [
        f"id: {run_id}:{entry.number}\nevent: {entry.type}\ndata: ".encode()
        + entry.data
        for entry in entries
    ]


async def test_resume_at_every_point_is_the_unbroken_stream(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        chat.tool_calls(("c", "calculator", {"expression": "1+1"})),
        chat.answer(*chat.many(5)),
    )
    whole = await api.stream("Hi")
    run_id, events = whole.headers["x-run-id"], logged(whole)
    for cut in range(len(events)):
        path = f"{API}/runs/{run_id}/events"
        for response in (
            await api.get(f"{path}?after={cut}"),
            await api.get(path, last_event_id=f"{run_id}:{cut}"),
            await api.post(
                f"{API}/stream", {"input": "Hi"}, last_event_id=f"{run_id}:{cut}"
            ),
        ):
            assert logged(response) == events[cut:]
            assert response.frames[0].data["metadata"]["resumed_after"] == cut
    assert await Run.objects.acount() == 1
    nothing_left = await api.get(path, last_event_id=f"{run_id}:{len(events)}")
    assert (nothing_left.status, nothing_left.body) == (204, b"")
    again = await api.post(
        f"{API}/stream", {"input": "Hi"}, last_event_id=f"{run_id}:{len(events)}"
    )
    assert again.events == ["connected"]


async def test_readers_that_join_a_run_under_way_miss_nothing(
    api: Api, upstream: StandInProvider
) -> None:
    go_on = asyncio.Event()
    upstream.reply(held_answer(go_on))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as first:
        await first.until("content")
        run_id = first.response.headers["x-run-id"]
        async with api.open("GET", f"{API}/runs/{run_id}/events") as late:
            await late.until("content")
            go_on.set()
            joined = await late.end()
        whole = await first.end()
    assert logged(joined) == logged(whole)
    assert "resumed_after" not in joined.frames[0].data["metadata"]


async def test_a_reader_in_another_process_misses_nothing(
    api: Api, upstream: StandInProvider, other_process: RunService
) -> None:
    go_on = asyncio.Event()
    upstream.reply(held_answer(go_on))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as first:
        await first.until("content")
        run_id = first.response.headers["x-run-id"]
        async with other_process.following(run_id, 0, is_active=True) as batches:
            entries = [*await anext(batches)]
            go_on.set()
            entries += [entry async for batch in batches for entry in batch]
        whole = await first.end()
    assert framed(run_id, entries) == logged(whole)


async def test_filters_make_no_holes_in_what_an_id_means(
    api: Api, upstream: StandInProvider
) -> None:
    body = chat.thoughts("a", "b") + chat.pieces("c", "d") + chat.ending()
    upstream.reply(Reply(body))
    whole = await api.stream("Hi")
    path = f"{API}/runs/{whole.headers['x-run-id']}/events?events=content&after="
    assert (await api.get(f"{path}1")).text == "cd"
    assert (await api.get(f"{path}3")).text == "d"


async def test_cancel_reaches_the_provider_and_keeps_what_came(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal", "lo"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content", 2)
        run_id = stream.response.headers["x-run-id"]
        cancelled = await api.post(f"{API}/runs/{run_id}/cancel")
        assert cancelled.status == 202
        async with asyncio.timeout(SECONDS):
            await upstream.gone.wait()
        response = await stream.end()
    assert response.events[-2:] == ["complete", "done"]
    metadata = response.frames[-2].data["metadata"]
    assert metadata["stop_reason"] == "cancelled"
    assert metadata["usage"]["output_tokens"] > 0
    run = await Run.objects.aget()
    assert (run.status, run.stop_reason) == ("cancelled", "cancelled")
    message = await Message.objects.aget(role="assistant")
    assert message.parts == [{"type": "text", "text": "Hallo"}]
    again = await api.post(f"{API}/runs/{run_id}/cancel")
    assert (again.status, again.json["status"]) == (200, "cancelled")


async def test_cancel_from_another_process_is_noticed(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        run = await Run.objects.aget()
        active = await database.execute_write(
            leases.request_cancel, [run.id], lambda runs: None
        )
        assert active == {run.id}
        async with asyncio.timeout(SECONDS):
            await upstream.gone.wait()
        response = await stream.end()
    assert response.frames[-2].data["metadata"]["stop_reason"] == "cancelled"


async def test_a_conversation_has_one_run_at_a_time(
    api: Api, upstream: StandInProvider
) -> None:
    go_on = asyncio.Event()
    upstream.reply(held_answer(go_on), chat.answer("next"))
    body = {"input": "Hi", "conversation_id": "c"}
    async with api.open("POST", f"{API}/stream", body) as first:
        await first.until("content")
        second = await api.post(f"{API}/stream", body)
        run_id = first.response.headers["x-run-id"]
        assert (second.status, second.json["code"]) == (409, "conversation_busy")
        assert second.json["run_id"] == run_id
        go_on.set()
        await first.end()
    assert (await api.post(f"{API}/run", body)).json["output"] == "next"


async def test_runs_that_race_for_a_conversation_leave_one_winner(
    api: Api, upstream: StandInProvider
) -> None:
    go_on = asyncio.Event()
    upstream.reply(held_answer(go_on))
    body = {"input": "Hi", "conversation_id": "c"}
    requests = (api.post(f"{API}/stream", body) for _ in range(8))
    tasks = [asyncio.create_task(each) for each in requests]
    async with asyncio.timeout(SECONDS):
        for refused in islice(asyncio.as_completed(tasks), 7):
            assert (await refused).status == 409
    go_on.set()
    responses = await asyncio.gather(*tasks)
    assert sorted(r.status for r in responses) == [200, *[409] * 7]


async def test_one_idempotency_key_is_one_run(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(slow_answer())
    body = {"input": "Hi"}
    responses = await asyncio.gather(
        *(api.post(f"{API}/stream", body, idempotency_key="k") for _ in range(10))
    )
    assert len(upstream.requests) == 1
    assert len({b"".join(logged(response)) for response in responses}) == 1
    other = await api.post(f"{API}/stream", {"input": "Ho"}, idempotency_key="k")
    assert (other.status, other.json["code"]) == (409, "idempotency_conflict")
    elsewhere = await api.post(
        f"{API}/run", {"input": "Hi", "org_id": "o"}, idempotency_key="k"
    )
    assert elsewhere.json.get("code") != "idempotency_conflict"


async def test_an_abandoned_run_is_cancelled_at_the_provider(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_abandon_seconds=0.5)
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        await stream.hang_up()
    async with asyncio.timeout(SECONDS):
        await upstream.gone.wait()
    await all_runs_end()
    assert (await Run.objects.aget()).status == "cancelled"


async def test_heartbeats_fill_the_silence(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(stream_heartbeat_seconds=0.1)
    upstream.reply(slow_answer(2, delay=0.5))
    response = await api.stream("Hi")
    assert response.body.count(b": keep-alive\n\n") >= 3


async def test_an_orphan_is_ended_and_its_readers_are_told(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_lease_seconds=1)
    upstream.reply(Reply(chat.pieces("Hal", "lo"), end="hang"), chat.answer("again"))
    body = {"input": "Hi", "conversation_id": "c"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content", 2)
        run_id = stream.response.headers["x-run-id"]
        await runs.get_service().log.flush()
        # As if its process had died: its lease is renewed no more.
        await Run.objects.aupdate(worker="dead", heartbeat_at="2020-01-01T00:00Z")
        response = await stream.end()
    assert response.events[-2:] == ["error", "done"]
    resumed = await api.get(f"{API}/runs/{run_id}/events?after=2")
    assert resumed.events == ["connected", "error", "done"]
    error, done = resumed.frames[1:]
    assert error.data["metadata"] == {"code": "interrupted", "retryable": True}
    assert 1000 < error.number == done.number - 1
    run = await Run.objects.aget()
    assert (run.status, run.error_code) == ("failed", "interrupted")
    message = await Message.objects.aget(role="assistant")
    assert message.parts == [{"type": "text", "text": "Hallo"}]
    assert (await api.post(f"{API}/run", body)).json["output"] == "again"


async def test_the_model_is_told_nothing_that_the_log_does_not_know(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(event_flush_ms=60_000)
    call = chat.tool_calls(("c", "calculator", {"expression": "1+1"}), text="I count.")
    upstream.reply(call, Reply(chat.pieces("x"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content", 2)
        run_id = stream.response.headers["x-run-id"]
        durable = await database.execute_read(stored_log().read, run_id)
        runs.get_service().executor.stop(run_id)
        whole = await stream.end()
    assert [entry.type for entry in durable] == ["content", "tool_call", "tool_result"]
    assert framed(run_id, durable) == logged(whole)[:3]


async def test_while_draining_nothing_new_starts(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        drain = asyncio.create_task(runs.get_service().drain(0.2))
        await asyncio.sleep(0)
        refused = await api.post(f"{API}/run", {"input": "Hi"})
        assert (refused.status, refused.json["code"]) == (503, "shutting_down")
        assert refused.headers["retry-after"]
        ready = await api.get("/ready")
        assert (ready.status, ready.json["checks"]["draining"]) == (503, "yes")
        response = await stream.end()
        await drain
    assert response.events[-2:] == ["error", "done"]
    assert response.frames[-2].data["metadata"]["code"] == "shutting_down"


async def test_a_run_under_way_tells_what_it_has_said(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal", "lo"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content", 2)
        await runs.get_service().log.flush()
        run_id = stream.response.headers["x-run-id"]
        state = (await api.get(f"{API}/runs/{run_id}")).json
    assert (state["status"], state["output"]) == ("running", "Hallo")
    assert state["ended_at"] is None


async def test_a_run_tells_its_state(api: Api, upstream: StandInProvider) -> None:
    upstream.reply(chat.answer("Hallo"))
    run_id = (await api.stream("Hi", context={"a": "b"})).headers["x-run-id"]
    state = (await api.get(f"{API}/runs/{run_id}")).json
    assert state["status"] == "completed"
    assert state["output"] == "Hallo"
    assert state["usage"]["total_tokens"] == 15
    assert state["created_at"] <= state["first_token_at"] <= state["ended_at"]
    assert state["error"] is None


async def test_a_filtered_stream_is_not_silent_either(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(stream_heartbeat_seconds=0.1)
    body = chat.thoughts(*chat.many(20)) + chat.pieces("x") + chat.ending()
    upstream.reply(Reply(body, chunk_size=len(body) // 20, delay=0.05))
    response = await api.stream("Hi", events=["content"])
    assert response.events == ["connected", "content", "complete", "done"]
    assert response.body.count(b": keep-alive\n\n") >= 3


async def test_a_deleted_conversation_ends_its_readers_everywhere(
    api: Api, upstream: StandInProvider, other_process: RunService
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    body = {"input": "Hi", "conversation_id": "c"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        run_id = stream.response.headers["x-run-id"]

        async def read_elsewhere() -> None:
            async with other_process.following(run_id, 0, is_active=True) as batches:
                async for _ in batches:
                    pass

        elsewhere = asyncio.create_task(read_elsewhere())
        await asyncio.sleep(0.1)
        await api.delete(f"{API}/conversations/c")
        response = await stream.end()
        async with asyncio.timeout(SECONDS):
            await elsewhere
    assert response.frames[-2].data["metadata"]["stop_reason"] == "cancelled"


async def test_a_client_that_disconnects_at_once_has_started_its_run(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"), chat.answer("Hallo"))
    access = FaultyDatabase()
    install_service(access=access)
    async with (
        busy_writer(),
        api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream,
    ):
        async with asyncio.timeout(SECONDS):
            while "start_runs" not in access.writes:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await stream.hang_up()
    assert (await api.run("Hi", conversation_id="other")).status == 200
    await all_runs_end()
    assert await Run.objects.filter(status="completed").acount() == 2


async def test_a_run_holds_nothing_of_its_request(
    api: Api, upstream: StandInProvider
) -> None:
    class Known:
        """A value in a request's context."""

    known: ContextVar[Known] = ContextVar("known")

    def launch(run: Run) -> weakref.ref[Known]:
        it = Known()
        known.set(it)
        service.executor.started(run, lambda: [user_message("Hi")])
        return weakref.ref(it)

    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    service = runs.get_service()
    request = RunRequest(input="Hi", principal=Principal("default"))
    defaults = RunDefaults(
        worker=service.worker.name, agents=make_loops(), history_chars=1
    )
    created = await database.execute_write_batched(
        start_runs, request, defaults, service.executor.enqueue
    )
    it = copy_context().run(launch, created.run)
    run_id, row = created.run.id, weakref.ref(created.run)
    frames = follow(created.run, NativeFormat())
    del created
    for event in ("connected", "content"):
        assert f"event: {event}" in (await anext(frames)).decode()
    gc.collect()
    assert (it(), row()) == (None, None)
    await frames.aclose()
    assert service.executor.stop(run_id)
    await all_runs_end()


async def test_an_answer_cut_by_the_shutdown_is_no_answer(
    api: Api, upstream: StandInProvider, other_process: RunService
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    body = {"input": "Hi"}
    request = RunBody.model_validate(body).to_request(
        Principal("default"), "k", registry.get().default
    )
    run = await other_process.start(request)
    async with api.open("POST", f"{API}/run", body, {"idempotency_key": "k"}) as joined:
        await asyncio.sleep(0.2)
        await runs.get_service().drain(5)
        response = await joined.end()
    assert response.headers.get("x-run-id", run.id) == run.id
    assert (response.status, response.json["code"]) == (503, "shutting_down")
    assert other_process.executor.stop(run.id)
    await all_runs_end()


async def whole_heartbeats(access: FaultyDatabase) -> None:
    """Wait for a heartbeat that has begun after the call and done all of its work."""
    begun = access.reads.count("find_stale")
    async with asyncio.timeout(SECONDS):
        while access.reads.count("find_stale") < begun + 2:  # noqa: ASYNC110  (no event)
            await asyncio.sleep(0.01)


async def test_replaying_an_ended_run_writes_nothing(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_lease_seconds=1)
    upstream.reply(chat.answer("Hallo"))
    access = FaultyDatabase()
    install_service(access=access, timings=Timings(heartbeat=0.02))
    whole = await api.stream("Hi")
    run_id = whole.headers["x-run-id"]
    await all_runs_end()
    await whole_heartbeats(access)
    before = await Run.objects.aget()
    access.writes.clear()
    access.reads.clear()
    replayed = await api.get(f"{API}/runs/{run_id}/events")
    joined = await api.post(
        f"{API}/stream", {"input": "Hi"}, last_event_id=f"{run_id}:1"
    )
    assert logged(replayed) == logged(whole)
    assert logged(joined) == logged(whole)[1:]
    of_readers = [name for name in access.reads if name not in PERIODIC_READS]
    assert len(of_readers) <= 4  # as many as the log needs
    await whole_heartbeats(access)  # it would report readers
    assert access.writes == []
    after = await Run.objects.aget()
    assert (after.last_reader_at, after.heartbeat_at) == (
        before.last_reader_at,
        before.heartbeat_at,
    )
