"""Conversations that a real server refuses: too long, or in an order it rejects."""

import uuid

from tests.real_model.servers import WINDOW, Site, Sites, Wire, final, words
from tests.servers import Reader


def new_id() -> str:
    return uuid.uuid4().hex


def test_the_oldest_exchanges_are_dropped_when_the_window_is_full(short: Site) -> None:
    conversation = new_id()
    for dropped in (0, 1):
        frames = short.ask(words(WINDOW // 2 - 10), conversation_id=conversation)
        metadata = final(frames)["metadata"]
        assert metadata.get("dropped_exchanges", 0) == dropped
        assert metadata["usage"]["total_tokens"] <= WINDOW


def test_a_question_that_is_too_long_fails_alone(short: Site) -> None:
    conversation = new_id()
    final(short.ask("Tell a story.", conversation_id=conversation))
    response = short.run(words(2 * WINDOW), conversation_id=conversation)
    assert response.status_code == 400
    assert response.json()["code"] == "context_too_long"
    failed = short.ask(words(2 * WINDOW), conversation_id=conversation)
    metadata = final(failed, "error")["metadata"]
    assert metadata["code"] == "context_too_long"
    assert not metadata["retryable"]
    final(short.ask("Tell a story.", conversation_id=conversation))


def test_a_conversation_goes_on_after_cancelled_runs(long: Site, short: Site) -> None:
    conversation = new_id()
    for event in ("connected", "content", "connected"):
        with long.open("Tell a story.", conversation_id=conversation) as response:
            reader = Reader(response)
            reader.until(event)
            long.cancel(response.headers["X-Run-Id"])
            assert final(list(reader))["metadata"]["stop_reason"] == "cancelled"
    metadata = final(short.ask("Count.", conversation_id=conversation))["metadata"]
    assert "dropped_exchanges" not in metadata


def test_tool_calls_are_told_to_a_model_without_tools(
    tools: Site, sites: Sites, wire: Wire
) -> None:
    conversation = new_id()
    final(tools.ask("What is 5 * 11?", conversation_id=conversation))
    follow_up = sites["short", wire].ask("Why?", conversation_id=conversation)
    assert "dropped_exchanges" not in final(follow_up)["metadata"]


def test_a_conversation_moves_between_the_apis(sites: Sites) -> None:
    conversation = new_id()
    final(sites["tools", "chat"].ask("What is 5 * 11?", conversation_id=conversation))
    for wire in ("responses", "messages", "chat"):
        site = sites["tools", wire]
        final(site.ask("Why?", conversation_id=conversation, max_iterations=1))
