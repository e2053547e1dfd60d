"""Recorded responses of OpenAI, and of a compatible server."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from streaming.exceptions import (
    ContextTooLong,
    ProviderError,
    ProviderRateLimited,
    ProviderRefusedKey,
)
from streaming.messages import ToolCallPart
from streaming.providers.base import Delta, ResponseEnd, ThinkingEnd, TokenUsage
from streaming.testing.provider import Reply, StandInProvider
from tests.providers import wire_cases
from tests.providers.openai_streams import Api, deltas_of, joined, text, thinking
from tests.providers.wire_cases import FORMS, Form, WireCase

APIS: tuple[Api, ...] = ("responses", "chat")
STREAMS = [case for api in APIS for case in wire_cases.streams(api)]
ERRORS = [case for api in APIS for case in wire_cases.errors(api)]
ANSWERS = [case for case in STREAMS if not case.expected["error"]]
FAILURES = [case for case in STREAMS if case.expected["error"]]
ENCRYPTED = [case for case in ANSWERS if b'"encrypted_content":"' in case.body]

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "completed": "end_turn",
}


def stop_reason(expected: Mapping[str, Any]) -> str:
    if expected["refusal"]:
        return "refusal"
    if expected["tool_calls"]:
        return "tool_use"
    return STOP_REASONS[expected["stop_reason"]]


def usage(sent: Mapping[str, Any] | None) -> TokenUsage:
    """The counts, by the names of either API."""
    sent = sent or {}
    read = sent.get("input_tokens_details") or sent.get("prompt_tokens_details") or {}
    written = (
        sent.get("output_tokens_details") or sent.get("completion_tokens_details") or {}
    )
    return TokenUsage(
        input_tokens=sent.get("input_tokens") or sent.get("prompt_tokens") or 0,
        output_tokens=sent.get("output_tokens") or sent.get("completion_tokens") or 0,
        reasoning_tokens=written.get("reasoning_tokens", 0),
        cache_read_tokens=read.get("cached_tokens", 0),
    )


async def recorded(
    upstream: StandInProvider, case: WireCase, reply: Reply
) -> list[Delta]:
    api: Api = "responses" if case.api == "responses" else "chat"
    return await deltas_of(upstream, api, reply)


def check(deltas: Sequence[Delta], expected: Mapping[str, Any]) -> None:
    assert text(deltas) == expected["text"] + expected["refusal"]
    assert thinking(deltas) == expected["thinking"]
    assert [d for d in deltas if isinstance(d, ToolCallPart)] == [
        ToolCallPart(call["id"], call["name"], call["arguments"])
        for call in expected["tool_calls"]
    ]
    assert joined(deltas).usage == usage(expected["usage"])
    assert isinstance(deltas[-1], ResponseEnd)
    assert deltas[-1].stop_reason == stop_reason(expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ANSWERS, ids=str)
async def test_a_recorded_response_yields_its_content(
    upstream: StandInProvider, case: WireCase, form: Form
) -> None:
    check(await recorded(upstream, case, case.reply(form)), case.expected)


async def test_a_recorded_response_may_arrive_byte_by_byte(
    upstream: StandInProvider,
) -> None:
    case = next(case for case in ANSWERS if "🌍" in case.expected["text"])
    check(await recorded(upstream, case, case.bytewise()), case.expected)


@pytest.mark.parametrize("case", ENCRYPTED, ids=str)
async def test_encrypted_reasoning_is_kept_as_it_ended(
    upstream: StandInProvider, case: WireCase
) -> None:
    deltas = await recorded(upstream, case, case.reply())
    [item] = [d.opaque for d in deltas if isinstance(d, ThinkingEnd)]
    summary = [part["text"] for part in item["summary"]]
    assert summary == case.expected["thinking_summary_parts"]
    whole = f'"encrypted_content":"{item["encrypted_content"]}"'.encode()
    events = case.body.split(b"\n\n")
    assert whole in next(e for e in events if b"response.output_item.done" in e)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", FAILURES, ids=str)
async def test_a_recorded_failure_in_a_stream_is_mapped(
    upstream: StandInProvider, case: WireCase, form: Form
) -> None:
    with pytest.raises(ProviderRateLimited) as caught:
        await recorded(upstream, case, case.reply(form))
    assert not caught.value.retryable


@pytest.mark.parametrize("case", ERRORS, ids=str)
async def test_a_recorded_error_response_is_mapped_without_its_text(
    upstream: StandInProvider, case: WireCase
) -> None:
    with pytest.raises(ProviderError) as caught:
        await recorded(upstream, case, case.error_reply())
    kinds = {401: ProviderRefusedKey, 429: ProviderRateLimited}
    kind = kinds.get(case.status, ProviderError)
    if case.expected["error_code"] == "context_length_exceeded":
        kind = ContextTooLong
    assert type(caught.value) is kind
    busy = case.expected["error_code"] == "rate_limit_exceeded"
    assert caught.value.retryable is busy
    assert case.expected["error_message"] not in str(caught.value)
