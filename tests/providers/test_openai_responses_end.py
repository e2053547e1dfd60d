"""OpenAI's Responses API: the ways in which a response ends."""

import json

import pytest

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
)
from streaming.messages import ToolCallPart
from streaming.providers.base import (
    Delta,
    ResponseEnd,
    TextDelta,
    TokenUsage,
)
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.openai_streams import (
    HELLO,
    Payload,
    call_item,
    deltas_of,
    ended,
    event,
    events,
    item_done,
    openai_at,
    text,
    text_deltas,
)

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}


async def responses(upstream: StandInProvider, *payloads: Payload) -> list[Delta]:
    return await deltas_of(upstream, "responses", events(*payloads))


async def test_a_refusal_is_reported_as_such(upstream: StandInProvider) -> None:
    deltas = await responses(
        upstream, event("refusal.delta", delta="I can't help with that."), ended()
    )
    assert deltas == [TextDelta("I can't help with that."), ResponseEnd("refusal")]


async def test_a_content_filter_is_a_refusal(upstream: StandInProvider) -> None:
    details = {"reason": "content_filter"}
    deltas = await responses(upstream, ended("incomplete", incomplete_details=details))
    assert deltas == [ResponseEnd("refusal")]


async def test_a_policy_violation_is_a_refusal(
    upstream: StandInProvider,
) -> None:
    error = {"code": "bio_policy", "message": "…"}
    deltas = await responses(upstream, *text_deltas("So"), ended("failed", error=error))
    assert deltas == [TextDelta("So"), ResponseEnd("refusal")]


async def test_a_truncated_response_ends_as_such_with_any_event_name(
    upstream: StandInProvider,
) -> None:
    details = {"reason": "max_output_tokens"}
    deltas = await responses(
        upstream, *text_deltas("So"), ended(incomplete_details=details)
    )
    assert deltas[-1] == ResponseEnd("max_tokens")


@pytest.mark.parametrize(
    ("limit", "end"), [(50, "max_tokens"), (51, "end_turn"), (49, "max_tokens")]
)
async def test_a_complete_response_of_the_requested_length_is_truncated(
    upstream: StandInProvider, limit: int, end: str
) -> None:
    body = events(*text_deltas("So"), ended(usage=USAGE))
    deltas = await deltas_of(upstream, "responses", body, llm_max_tokens=limit)
    assert [d.stop_reason for d in deltas if isinstance(d, ResponseEnd)] == [end]


@pytest.mark.parametrize(
    ("limit", "ids", "end"),
    [(50, ["call_1"], "max_tokens"), (51, ["call_1", "call_2"], "tool_use")],
)
async def test_a_complete_call_that_the_limit_cut_off_is_dropped(
    upstream: StandInProvider, limit: int, ids: list[str], end: str
) -> None:
    # llama.cpp calls it complete, with as much of its arguments as the model wrote.
    body = events(
        item_done(call_item('{"city": "Rome"}'), 0),
        item_done(call_item('{"city":', call_id="call_2"), 1),
        ended(usage=USAGE),
    )
    deltas = await deltas_of(upstream, "responses", body, llm_max_tokens=limit)
    assert [d.id for d in deltas if isinstance(d, ToolCallPart)] == ids
    assert [d.stop_reason for d in deltas if isinstance(d, ResponseEnd)] == [end]


async def test_a_refusal_without_deltas_is_emitted_too(
    upstream: StandInProvider,
) -> None:
    refusal = {"type": "refusal", "refusal": "No."}
    deltas = await responses(
        upstream, item_done({"type": "message", "content": [refusal]}), ended()
    )
    assert deltas == [TextDelta("No."), ResponseEnd("refusal")]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "error": {"code": "insufficient_quota", "message": "m"}},
        {"type": "error", "code": "insufficient_quota", "message": "m"},
        {"error": {"type": "insufficient_quota", "message": "m"}},
        ended("failed", error={"code": "insufficient_quota", "message": "m"}),
    ],
)
async def test_exhausted_quota_is_not_retryable_in_any_form(
    upstream: StandInProvider, error: Payload
) -> None:
    with pytest.raises(ProviderRateLimited) as caught:
        await responses(upstream, error)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("code", "retryable"),
    [("server_error", True), ("rate_limit_exceeded", True), ("invalid_prompt", False)],
)
async def test_a_failed_response_is_mapped_without_its_text(
    upstream: StandInProvider, code: str, retryable: bool
) -> None:
    error = {"code": code, "message": "secret internals at sk-123"}
    with pytest.raises(ProviderError) as caught:
        await responses(upstream, ended("failed", error=error))
    assert caught.value.retryable is retryable
    assert "secret" not in caught.value.message


async def test_deltas_before_a_failure_in_the_same_read_are_emitted(
    upstream: StandInProvider,
) -> None:
    upstream.reply(Reply(events(*text_deltas("So far"), ended("failed", usage=USAGE))))
    deltas: list[Delta] = []
    async with openai_at(upstream, "responses") as provider:
        with pytest.raises(ProviderError):
            async for batch in provider.stream(HELLO):
                deltas.extend(batch)
    assert deltas == [TextDelta("So far"), TokenUsage(100, 50, 20, 60, 30)]


@pytest.mark.parametrize("tail", [b"", b"data: [DONE]\n\n"])
async def test_a_stream_without_its_terminal_event_is_incomplete(
    upstream: StandInProvider, tail: bytes
) -> None:
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, "responses", events(*text_deltas("Half")) + tail)


async def test_nothing_after_the_terminal_event_matters(
    upstream: StandInProvider,
) -> None:
    body = events(*text_deltas("Hi"), ended()) + b"data: [DONE]\n\ndata: garbage\n\n"
    assert (await deltas_of(upstream, "responses", body))[-1] == ResponseEnd("end_turn")


async def test_an_event_that_is_not_json_is_an_error(upstream: StandInProvider) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        await deltas_of(upstream, "responses", b"data: <html>\n\n")


async def test_odd_characters_arrive_as_ones_that_can_be_stored(
    upstream: StandInProvider,
) -> None:
    delta = json.dumps(event("output_text.delta", delta="a\0b\ud83dc"))
    body = f"data: {delta}\n\n".encode() + events(ended())
    raw = b'data: {"type":"response.output_text.delta","delta":"\xff"}\n\n'
    deltas = await deltas_of(upstream, "responses", raw + body)
    assert text(deltas) == "\ufffda\ufffdb\ufffdc"
