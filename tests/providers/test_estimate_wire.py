"""Estimated tokens, compared with the counts in recorded streams."""

import pytest

from streaming.messages import Message, TextPart
from streaming.providers.token_estimate import message_tokens
from tests.providers import wire_cases
from tests.providers.wire_cases import WireCase

#: The difference that rounding and the end of a message make to a short text.
FEW = 6


def output_tokens(case: WireCase) -> int:
    """The tokens of the output, if the text is all of it; else 0."""
    expected = case.expected
    usage = expected.get("usage") or {}
    details = usage.get("output_tokens_details") or usage.get(
        "completion_tokens_details"
    )
    if expected["error"] or expected["tool_calls"] or expected.get("thinking"):
        return 0
    if (details or {}).get("reasoning_tokens") or not expected["text"]:
        return 0
    return int(usage.get("output_tokens") or usage.get("completion_tokens") or 0)


APIS = ("messages", "chat", "responses")
COUNTED = [c for api in APIS for c in wire_cases.streams(api) if output_tokens(c)]


@pytest.mark.parametrize("case", COUNTED, ids=str)
def test_an_estimate_is_close_to_the_recorded_count(case: WireCase) -> None:
    message = Message("assistant", [TextPart(case.expected["text"])])
    counted = output_tokens(case)
    assert message_tokens([message]) == pytest.approx(counted, rel=0.2, abs=FEW)


def test_all_apis_have_recorded_counts() -> None:
    assert {case.api for case in COUNTED} == set(APIS)
