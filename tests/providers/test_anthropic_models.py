"""Each model receives its thinking options in the form that it accepts."""

from typing import Any

import pytest

from streaming.providers.anthropic.models import MIN_BUDGET, thinking_fields
from streaming.providers.base import ProviderOptions
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.anthropic_streams import (
    HELLO,
    anthropic_at,
    message,
    read,
    text_block,
)

ADAPTIVE = {"type": "adaptive", "display": "summarized"}
BOUND = ADAPTIVE | {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}

FORMS = {
    "claude-2.1": None,
    "claude-instant-1.2": None,
    "claude-3-opus-20240229": None,
    "claude-3-5-sonnet-20241022": None,
    "claude-3-5-haiku-latest": None,
    "claude-3-7-sonnet-latest": "enabled",
    "claude-opus-4-20250514": "enabled",
    "claude-opus-4-0": "enabled",
    "claude-4-opus-20250514": "enabled",
    "claude-opus-4-1-20250805": "enabled",
    "claude-sonnet-4-5@20250929": "enabled",
    "us.anthropic.claude-haiku-4-5-20251001-v1:0": "enabled",
    "anthropic/claude-opus-4.5": "enabled",
    "claude-sonnet-4-6": "adaptive",
    "anthropic/claude-opus-4.6": "adaptive",
    "claude-opus-4-8": "adaptive",
    "claude-mythos-preview": "adaptive",
    "claude-opus-5": "adaptive",
    "claude-opus-5-20260901": "adaptive",
    "claude-haiku-5-5": "adaptive",
    "claude-fable-5-2": "adaptive",
    "claude-sonnet-6": "adaptive",
    "kimi-k2": None,
}


@pytest.mark.parametrize(("model", "form"), FORMS.items())
def test_by_default_each_model_thinks_in_its_own_form(
    model: str, form: str | None
) -> None:
    fields = thinking_fields(model, "auto", 8192)
    assert fields.get("thinking", {}).get("type") == form
    assert "output_config" not in fields


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-opus-5"])
def test_thinking_of_adaptive_models_is_shown(model: str) -> None:
    assert thinking_fields(model, "auto", 8192) == {
        "max_tokens": 8192,
        "thinking": ADAPTIVE,
    }


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-fable-5.1"])
def test_a_changed_history_fails_no_request_of_models_that_check_it(model: str) -> None:
    assert thinking_fields(model, "auto", 8192) == {
        "max_tokens": 8192,
        "thinking": BOUND,
        "extra_headers": {"anthropic-beta": "thinking-binding-controls-2026-08-01"},
    }


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("1024", "low"),
        ("4096", "medium"),
        ("32000", "high"),
    ],
)
def test_adaptive_models_get_an_effort(thinking: str, effort: str) -> None:
    fields = thinking_fields("claude-sonnet-5-5", thinking, 8192)
    assert fields["thinking"] == BOUND
    assert fields["output_config"] == {"effort": effort}


@pytest.mark.parametrize(
    ("thinking", "max_tokens", "expected"),
    [
        ("auto", 8192, (4096, 8192)),
        ("low", 8192, (2048, 8192)),
        ("medium", 8192, (4096, 8192)),
        ("high", 8192, (6144, 8192)),
        ("high", 500, (1024, 2048)),
        ("1", 8192, (1024, 8192)),
        ("3000", 8192, (3000, 8192)),
        ("20000", 8192, (20000, 21024)),
    ],
)
def test_older_models_get_a_budget_that_leaves_room_for_the_response(
    thinking: str, max_tokens: int, expected: tuple[int, int]
) -> None:
    fields = thinking_fields("claude-haiku-4-5", thinking, max_tokens)
    budget = fields["thinking"]["budget_tokens"]
    assert (budget, fields["max_tokens"]) == expected
    assert MIN_BUDGET <= budget < fields["max_tokens"]
    assert "interleaved-thinking" in fields["extra_headers"]["anthropic-beta"]


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("claude-3-5-haiku-latest", {}),
        ("claude-haiku-4-5", {}),
        ("claude-opus-4-8", {}),
        ("claude-opus-5", {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-5", {"thinking": {"type": "disabled"}}),
        ("claude-haiku-5-5", {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}}),
        ("claude-opus-5-5", {"output_config": {"effort": "low"}}),
        ("claude-fable-5", {"output_config": {"effort": "low"}}),
        ("kimi-k2", {}),
    ],
)
@pytest.mark.parametrize("off", ["off", "0"])
def test_off_is_the_least_thinking_that_a_model_supports(
    model: str, fields: dict[str, Any], off: str
) -> None:
    assert thinking_fields(model, off, 8192) == {"max_tokens": 8192} | fields


def test_a_model_of_another_vendor_gets_a_budget_if_requested() -> None:
    fields = thinking_fields("kimi-k2", "high", 8192)
    assert fields["thinking"] == {"type": "enabled", "budget_tokens": 6144}


@pytest.mark.parametrize("thinking", ["", "on", "extreme", "-1", "1.5", "1e3"])
def test_an_unknown_setting_is_refused_by_its_name(thinking: str) -> None:
    with pytest.raises(ValueError, match="LLM_THINKING=.*: expected auto, "):
        ProviderOptions(llm_provider="anthropic", llm_thinking=thinking)


async def test_the_fields_reach_the_server(upstream: StandInProvider) -> None:
    upstream.reply(Reply(message(text_block(0, "Hi"))))
    async with anthropic_at(
        upstream, llm_thinking="high", llm_model="claude-opus-5-5", llm_max_tokens=999
    ) as provider:
        assert provider.name == "anthropic"
        assert provider.model == "claude-opus-5-5"
        await read(provider, HELLO)
    request = upstream.requests[0]
    assert request.headers["anthropic-beta"] == "thinking-binding-controls-2026-08-01"
    assert request.json["model"] == "claude-opus-5-5"
    assert request.json["max_tokens"] == 999
    assert request.json["thinking"] == BOUND
    assert request.json["output_config"] == {"effort": "high"}
