"""The texts that have steered a run, on its page."""

from typing import Any

import pytest
from django.utils import timezone

from streaming import events
from streaming.admin.timeline import timeline
from streaming.models import RunInput, RunStatus
from tests.admin.conftest import Page, page_url
from tests.admin.history import ZERO, done, log, make_run

pytestmark = pytest.mark.django_db


def test_the_page_of_a_run_shows_what_has_become_of_each_text(read: Page) -> None:
    run = make_run(status=RunStatus.COMPLETED)
    following = make_run(run.conversation)
    states: list[dict[str, Any]] = [
        {"taken_at": timezone.now()},
        {"taken_at": timezone.now(), "next_run": following.id},
        {"taken_at": timezone.now(), "next_run": "0" * 32},
        {},
    ]
    for number, state in enumerate(states, start=1):
        text = f"<b>text {number}</b>"
        RunInput.objects.create(run=run, number=number, text=text, **state)
    page = read(page_url(run))
    shown = ("taken: ", "became ", "became a run that was deleted", "not taken: ")
    for number, words in enumerate(shown, start=1):
        assert words in page
        assert f"&lt;b&gt;text {number}&lt;/b&gt;" in page
    assert page_url(following) in page
    assert "steering texts" not in read(page_url(following)).lower()


def test_the_timeline_shows_the_text_where_it_was_taken() -> None:
    run = make_run()
    event = events.Input(input="In French.", message_id="0" * 32, timestamp=ZERO + 5)
    log(run, [event, done(10)])
    row = timeline(run).rows[0]
    assert (row.kind, row.text, row.start) == ("input", "In French.", 5)
