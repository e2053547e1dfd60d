"""Recorded responses of the Messages API, served over HTTP to the real SDK."""

import pytest

from streaming.exceptions import ProviderError
from streaming.messages import OpaquePart
from streaming.providers.base import (
    Delta,
    ResponseEnd,
    ThinkingEnd,
    TokenUsage,
)
from streaming.testing.provider import StandInProvider
from tests.providers import wire_cases
from tests.providers.anthropic_streams import deltas_of, joined, text, thinking
from tests.providers.wire_cases import FORMS, Form, WireCase

STREAMS = wire_cases.streams("messages")
WHOLE = [case for case in STREAMS if not case.expected["error"]]
BROKEN = [case for case in STREAMS if case.expected["error"]]
ERRORS = wire_cases.errors("messages")

STOP_REASONS = {
    "stop_sequence": "end_turn",
    "model_context_window_exceeded": "max_tokens",
}
CODES = {
    400: "provider_error",
    401: "provider_refused_key",
    404: "provider_error",
    429: "provider_rate_limited",
    529: "provider_error",
}


def check(case: WireCase, deltas: list[Delta]) -> None:
    expected = case.expected
    details = expected["stop_details"] or {}
    assert text(deltas) == (expected["text"] or details.get("explanation", ""))
    assert thinking(deltas) == expected["thinking"]
    signatures = [d.opaque["signature"] for d in deltas if isinstance(d, ThinkingEnd)]
    assert signatures == expected["signatures"]
    opaque = [d.data["data"] for d in deltas if isinstance(d, OpaquePart)]
    assert opaque == expected["redacted_thinking"]
    calls = [(c.id, c.name, c.arguments) for c in joined(deltas).message.tool_calls]
    assert calls == [
        (call["id"], call["name"], call["arguments"] or "{}")
        for call in expected["tool_calls"]
        if call["closed"]
    ]
    reason = expected["stop_reason"]
    assert deltas[-1] == ResponseEnd(STOP_REASONS.get(reason, reason))
    assert [d for d in deltas if isinstance(d, TokenUsage)][-1] == usage_of(case)


def usage_of(case: WireCase) -> TokenUsage:
    sent = case.expected["usage"]
    read = sent.get("cache_read_input_tokens", 0)
    written = sent.get("cache_creation_input_tokens", 0)
    return TokenUsage(
        input_tokens=sent["input_tokens"] + read + written,
        output_tokens=sent["output_tokens"],
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", WHOLE, ids=str)
async def test_a_recorded_stream_yields_its_content(
    upstream: StandInProvider, case: WireCase, form: Form
) -> None:
    check(case, await deltas_of(upstream, case.reply(form)))


async def test_a_stream_may_come_one_byte_at_a_time(upstream: StandInProvider) -> None:
    case = next(case for case in WHOLE if case.expected["tool_calls"])
    check(case, await deltas_of(upstream, case.bytewise()))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", BROKEN, ids=str)
async def test_a_recorded_failure_in_mid_stream_comes_after_earlier_text(
    upstream: StandInProvider, case: WireCase, form: Form
) -> None:
    deltas: list[Delta] = []
    with pytest.raises(ProviderError) as failure:
        await deltas_of(upstream, case.reply(form), into=deltas)
    assert text(deltas) == case.expected["text"]
    assert case.expected["error"]["type"] == "overloaded_error"
    assert failure.value.code == "provider_error"
    assert failure.value.retryable


@pytest.mark.parametrize("case", ERRORS, ids=str)
async def test_a_recorded_error_body_gets_its_code(
    upstream: StandInProvider, case: WireCase
) -> None:
    with pytest.raises(ProviderError) as failure:
        await deltas_of(upstream, case.error_reply())
    assert failure.value.code == CODES[case.status]
    assert failure.value.retryable is (case.status in (429, 529))
    assert case.expected["error_message"] not in failure.value.message
