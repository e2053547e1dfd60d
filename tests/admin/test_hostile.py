"""The admin shows hostile content as text and never executes it."""

import pytest

from streaming import events
from streaming.messages import (
    OpaquePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from streaming.models import Conversation, Organization, Run
from tests.admin.conftest import LISTS, Page, delete_url, list_url, page_url
from tests.admin.history import (
    ZERO,
    content,
    log,
    make_conversation,
    make_run,
    say,
    thinking,
    tool_call,
    tool_result,
)

pytestmark = pytest.mark.django_db

EVIL = """</textarea></script><img src=x onerror="alert('1')">{{ 7|add:7 }}{% now %}"""
SHORT = "<b onclick='alert(1)'>&amp;"


@pytest.fixture
def run(db: None) -> Run:
    """Make a run with hostile values in every field that a client or model sets."""
    conversation = make_conversation(f"{EVIL}o", f"{EVIL}t")
    Conversation.objects.update(conversation_id=f"{EVIL}c")
    run = make_run(
        conversation,
        status="failed",
        input=EVIL,
        context={EVIL: EVIL},
        provider=SHORT,
        model=EVIL,
        idempotency_key=EVIL,
        stop_reason=SHORT,
        error_code=SHORT,
        error_message=EVIL,
        used_tools=[EVIL],
        worker=SHORT,
    )
    say(run, "user", TextPart(EVIL))
    say(
        run,
        "assistant",
        ThinkingPart(EVIL),
        ToolCallPart("c", EVIL, EVIL),
        OpaquePart(EVIL, {"type": EVIL}),
    )
    say(run, "tool", ToolResultPart("c", EVIL, EVIL), ToolResultPart("?", EVIL, EVIL))
    failure = events.ErrorEvent(
        error=EVIL, metadata=events.ErrorInfo(EVIL, False), timestamp=ZERO
    )
    log(
        run,
        [
            thinking(1, EVIL),
            content(2, EVIL),
            tool_call(3, "c", EVIL),
            tool_result(4, "c", EVIL, EVIL),
            failure,
        ],
    )
    return run


def assert_harmless(html: str) -> None:
    """Assert that the hostile content is present, but only as text."""
    assert "onerror=&quot;alert(" in html
    assert "{{ 7|add:7 }}{% now %}" in html
    for live in ("<img src=x", "<b onclick", "</textarea>"):
        assert live not in html


@pytest.mark.parametrize("model", LISTS)
def test_lists_show_hostile_content_as_text(
    read: Page, run: Run, model: type[Organization]
) -> None:
    assert_harmless(read(list_url(model)))


@pytest.mark.parametrize("part", ["organization", "conversation", "self"])
def test_pages_show_hostile_content_as_text(read: Page, run: Run, part: str) -> None:
    instance = run if part == "self" else getattr(run, part)
    assert_harmless(read(page_url(instance)))


@pytest.mark.parametrize("status", ["failed", "running"])
@pytest.mark.parametrize("part", ["organization", "conversation"])
def test_confirmations_show_hostile_content_as_text(
    read: Page, run: Run, part: str, status: str
) -> None:
    Run.objects.update(status=status)
    assert_harmless(read(delete_url(getattr(run, part))))


def test_filters_and_searches_show_hostile_content_as_text(
    read: Page, run: Run
) -> None:
    assert_harmless(read(list_url(Run), q=EVIL, model=EVIL))
