"""The reasoning abilities of OpenAI's models."""

import pytest

from streaming.providers.openai.models import DEFAULT_MODEL, effort, reasons


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (DEFAULT_MODEL, True),
        ("gpt-5-mini", True),
        ("openai/gpt-5", True),
        ("o4-mini", True),
        ("gpt-oss-120b", True),
        ("gpt-5-chat-latest", False),
        ("gpt-5.3-chat-latest", False),
        ("gpt-4.1", False),
        ("gpt-4o", False),
        ("chatgpt-4o-latest", False),
        ("olmo-2", False),
        ("llama3.2", False),
    ],
)
def test_some_models_reason(model: str, expected: bool) -> None:
    assert reasons(model) is expected


@pytest.mark.parametrize(
    ("model", "lowest"),
    [
        ("gpt-6.2-sol", "low"),
        ("gpt-6-astra", "low"),
        ("gpt-6-luna", "none"),
        ("gpt-5.5-2026-04-23", "none"),
        ("gpt-5.1", "none"),
        ("gpt-5", "minimal"),
        ("gpt-5-nano-2025-08-07", "minimal"),
        ("gpt-5.1-codex", "low"),
        ("gpt-5-pro", None),
        ("o3", "low"),
    ],
)
def test_off_is_the_lowest_effort_of_a_model(model: str, lowest: str | None) -> None:
    assert effort("off", model) == lowest
