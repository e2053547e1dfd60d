"""Runs of a real model: streamed, collected, cancelled, and followed by two readers."""

from tests.real_model.servers import (
    SHORT,
    WINDOW,
    Site,
    final,
    text_of,
    wait_until,
    words,
)
from tests.servers import Reader

#: A response of fewer tokens was far from its end.
FEW = WINDOW // 2


def test_a_response_is_streamed_and_counted(short: Site) -> None:
    frames = short.ask("Tell a story.")
    events = [frame.event for frame in frames]
    assert events[0] == "connected"
    assert set(events[1:-2]) == {"content"}
    metadata = final(frames)["metadata"]
    assert metadata["stop_reason"] == "max_tokens"
    usage = metadata["usage"]
    assert usage["output_tokens"] == SHORT
    assert 10 < usage["input_tokens"] < 60
    assert usage["total_tokens"] == usage["input_tokens"] + SHORT
    stored = short.get(f"runs/{frames[1].run_id}").json()
    assert stored["status"] == "completed"
    assert stored["output"] == text_of(frames) != ""
    assert stored["usage"] == usage


def test_a_response_is_collected(short: Site) -> None:
    response = short.run("Tell a story.")
    assert response.status_code == 200
    body = response.json()
    assert body["output"]
    assert body["usage"]["output_tokens"] == SHORT
    assert body["execution_summary"]["llm_calls"] == 1
    assert body["execution_summary"]["stop_reason"] == "max_tokens"


def test_a_cancel_stops_the_model(long: Site) -> None:
    before = long.llama.predicted
    with long.open("Tell a story.") as response:
        reader = Reader(response)
        run_id = reader.until("content").run_id
        assert long.llama.working == 1
        assert long.cancel(run_id).status_code == 202
        frames = list(reader)
    assert final(frames)["metadata"]["stop_reason"] == "cancelled"
    wait_until(lambda: long.llama.working == 0, seconds=2)
    assert 0 < long.llama.predicted - before < FEW
    stored = long.get(f"runs/{run_id}").json()
    assert stored["status"] == "cancelled"
    assert stored["output"]
    assert stored["usage"]["output_tokens"] > 0


def test_a_reader_that_disconnects_resumes_with_the_same_bytes(long: Site) -> None:
    with long.open("Tell a story.") as response:
        reader = Reader(response)
        seen = [reader.until("content") for _ in range(3)]
    last = seen[-1]
    assert long.llama.working == 1
    with long.follow(last.run_id, after=last.id) as response:
        reader = Reader(response)
        resumed = [reader.until("connected"), reader.until("content")]
        long.cancel(last.run_id)
        resumed += reader
    assert resumed[0].data["metadata"]["resumed_after"] == last.number
    with long.follow(last.run_id, after=f"{last.run_id}:0") as response:
        whole = [frame.raw for frame in Reader(response)][1:]
    final(resumed)
    assert whole == [frame.raw for frame in (*seen, *resumed[1:])]


def test_two_runs_are_streamed_at_once(long: Site) -> None:
    with long.open("Tell a story.") as first, long.open("Count.") as second:
        readers = [Reader(first), Reader(second)]
        ids = [reader.until("content").run_id for reader in readers]
        assert len(set(ids)) == 2
        assert long.llama.working == 2
        for run_id in ids:
            long.cancel(run_id)
        for reader in readers:
            assert final(list(reader))["metadata"]["stop_reason"] == "cancelled"
    wait_until(lambda: long.llama.working == 0, seconds=2)


def test_a_response_that_fills_the_context_window_ends(long: Site, wire: str) -> None:
    frames = long.ask(words(460))
    metadata = final(frames)["metadata"]
    # llama.cpp's Responses API does not tell this end from a regular one.
    expected = "end_turn" if wire == "responses" else "max_tokens"
    assert metadata["stop_reason"] == expected
    assert WINDOW - 1 <= metadata["usage"]["total_tokens"] <= WINDOW
