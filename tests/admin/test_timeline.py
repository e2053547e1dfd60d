"""The timeline on the page of a run: the times and texts of its events."""

import re
from html import unescape
from itertools import chain
from typing import Any

import pytest
from django.test import Client

from streaming import events
from streaming.admin.timeline import MOST_CHARACTERS, Row, Timeline, timeline
from streaming.models import EventSegment, Run
from tests.admin.conftest import Page, page_url
from tests.admin.history import (
    ZERO,
    after,
    complete,
    content,
    done,
    log,
    make_run,
    thinking,
    tool_call,
    tool_result,
)
from tests.cost import calls_of

pytestmark = pytest.mark.django_db


def drawn(run: Run) -> Timeline:
    """Return the timeline with the bars of all rows."""
    made = timeline(run)
    made.draw(made.rows)
    return made


def summary(row: Row) -> tuple[str, int, int, int, int]:
    """Return a row's kind, ids, offset and gap."""
    return row.kind, row.first_id, row.last_id, row.start, row.gap


def test_deltas_that_follow_each_other_are_one_row() -> None:
    run = make_run()
    log(
        run,
        [
            thinking(400, "I "),
            thinking(450, "think."),
            content(600, "Two "),
            content(700, "are "),
            content(900, "left."),
            complete(2950),
            done(2950),
        ],
        flush=2,
    )
    made = drawn(run)
    assert [summary(row) for row in made.rows] == [
        ("thinking", 1, 2, 400, 400),
        ("content", 3, 5, 600, 150),
        ("complete", 6, 6, 2950, 2050),
        ("done", 7, 7, 2950, 0),
    ]
    assert [(row.text, row.lasted) for row in made.rows[:2]] == [
        ("I think.", 50),
        ("Two are left.", 300),
    ]
    assert (made.events, made.span, made.first_token) == (7, 3000, 400)


def test_a_tool_lasts_from_its_call_to_its_result() -> None:
    run = make_run()
    log(
        run,
        [
            tool_call(500, "a", "calculator"),
            tool_call(510, "b", "current_time"),
            tool_result(560, "b", name="current_time", failed=True),
            tool_result(900, "a"),
        ],
    )
    rows = drawn(run).rows
    assert [(row.name, row.took, row.is_error) for row in rows] == [
        ("calculator", 400, False),
        ("current_time", 50, False),
        ("current_time", None, True),
        ("calculator", None, False),
    ]
    assert [row.gap for row in rows] == [500, 10, 50, 340]


def test_an_id_used_again_belongs_to_the_latest_call() -> None:
    run = make_run()
    pairs = [
        [tool_call(at, "call_0"), tool_result(at + took, "call_0")]
        for at, took in ((100, 30), (200, 70))
    ]
    log(run, chain.from_iterable(pairs))
    assert [row.took for row in drawn(run).rows] == [30, None, 70, None]


def test_bars_stand_where_the_events_were() -> None:
    run = make_run(ended_at=after(10_000))
    log(run, [tool_call(1000, "a"), tool_result(3000, "a"), done(10_000)])
    assert [row.bar for row in drawn(run).rows] == [
        (1000, 2000),
        (3000, 50),
        (9950, 50),
    ]


def test_a_tool_of_an_active_run_lasts_until_the_last_heartbeat() -> None:
    run = make_run(status="running", heartbeat_at=after(5000))
    log(run, [tool_call(1000, "a")])
    assert drawn(run).rows[0].bar == (1000, 4000)


def test_a_tool_without_result_has_no_length_in_an_ended_run() -> None:
    run = make_run(status="failed", ended_at=after(10_000))
    log(run, [tool_call(1000, "a")])
    row = drawn(run).rows[0]
    assert (row.took, row.bar) == (None, (1000, 50))


def test_ids_missing_after_a_crash_are_shown() -> None:
    run = make_run(status="failed")
    log(run, [content(100), content(110)])
    failure = events.ErrorEvent(
        error="The server died.",
        metadata=events.ErrorInfo("interrupted", True),
        timestamp=ZERO + 2000,
    )
    log(run, [failure], first=103)
    rows = drawn(run).rows
    assert [(row.first_id, row.last_id, row.lost) for row in rows] == [
        (1, 2, 0),
        (103, 103, 100),
    ]
    assert rows[1].text == "interrupted: The server died."


def test_a_sequence_ends_at_missing_ids() -> None:
    run = make_run()
    log(run, [content(100)])
    log(run, [content(200)], first=9)
    assert [row.lost for row in drawn(run).rows] == [0, 7]


def test_a_clock_that_went_backwards_gives_no_negative_times() -> None:
    run = make_run()
    log(run, [thinking(-30), content(500), thinking(450)])
    rows = drawn(run).rows
    assert [(row.start, row.gap) for row in rows] == [(0, 0), (500, 500), (450, 0)]


def test_an_event_that_cannot_be_read_is_shown_as_it_is(read: Page) -> None:
    run = make_run()
    lines = ['{"type":"hologram","timestamp":1}', '{"type":"content","con']
    EventSegment.objects.create(run=run, first_id=1, last_id=2, events="\n".join(lines))
    assert [(row.kind, row.text) for row in drawn(run).rows] == [
        ("unreadable", line) for line in lines
    ]
    assert "hologram" in read(page_url(run))


def test_other_line_ends_do_not_split_an_event() -> None:
    run = make_run()
    text = "a\x85b\x0bc\x0cd\x1ce\u2028f\u2029g\rh\ni"
    log(run, [content(1, text), done(2)])
    rows = drawn(run).rows
    assert [row.kind for row in rows] == ["content", "done"]
    assert rows[0].text == text


def test_a_long_sequence_shows_its_beginning_and_the_rest_as_a_number() -> None:
    run = make_run()
    log(run, [content(at, "0123456789") for at in range(100)])
    (row,) = drawn(run).rows
    assert (len(row.text), row.hidden) == (MOST_CHARACTERS, 1000 - MOST_CHARACTERS)


def items(html: str) -> list[str]:
    """Return the visible text of the timeline's rows."""
    return [
        " ".join(unescape(re.sub(r"<[^>]+>", " ", item)).split())
        for item in re.findall(r'<li class="event .*?</li>', html, re.DOTALL)
    ]


def test_the_page_shows_all_of_a_run(read: Page) -> None:
    run = make_run(
        context={"user": "alice"}, used_tools=["calculator"], llm_calls=2, worker="w:1"
    )
    log(
        run,
        [
            thinking(400, "Let me see."),
            tool_call(500, "a"),
            tool_result(850, "a", "2"),
            content(1600, "Two "),
            content(1700, "apples."),
            complete(2990),
            done(2990),
        ],
    )
    html = read(page_url(run))
    assert items(html) == [
        "400 ms +400 thinking 1 Let me see.",
        "500 ms +100 tool_call 2 calculator {} took 350 ms",
        "850 ms +350 tool_result 3 calculator 2",
        "1,600 ms +750 content × 2 4–5 Two apples. 100 ms long",
        "2,990 ms +1,290 complete 6"
        " end_turn: 1,234 tokens, 2 model calls, 1 tool calls",
        "2,990 ms done 7",
    ]
    assert ("7 events in 6 rows, 3,000 ms, the first token after 400 ms.") in " ".join(
        html.split()
    )
    assert '<svg class="event-bar" viewBox="0 0 3000 1"' in html
    assert '<rect x="500" width="350" height="1"/>' in html
    assert "style=" not in html.partition('<section class="timeline"')[2]
    for shown in ("How many apples", "&quot;user&quot;: &quot;alice&quot;", "w:1"):
        assert shown in html


def test_a_failed_run_shows_its_error(read: Page) -> None:
    run = make_run(
        status="failed", error_code="provider_timeout", error_message="Too slow."
    )
    html = read(page_url(run))
    assert "provider_timeout" in html
    assert "Too slow." in html
    assert "No events of this run are stored." in html


def test_an_active_run_is_drawn_so_far(read: Page) -> None:
    run = make_run(status="running")
    assert "No event has been stored yet." in read(page_url(run))
    log(run, [content(100), tool_call(200, "a")])
    html = read(page_url(run))
    assert "It is still running." in html
    assert items(html)[1].endswith("calculator {} still running")


def test_a_log_of_many_rows_is_read_page_by_page(read: Page) -> None:
    run = make_run()
    log(run, chain.from_iterable((content(at), thinking(at)) for at in range(250)))
    pages = [read(page_url(run), page=str(number)) for number in (1, 2, 3)]
    assert "rows 201 to 400 are shown" in " ".join(pages[1].split())
    shown = [row for page in pages for row in items(page)]
    assert len(shown) == 500
    assert [int(row.split()[-2]) for row in shown] == list(range(1, 501))


def test_sixty_thousand_events_take_few_queries_and_few_calls(
    admin_client: Client,
    django_assert_max_num_queries: Any,  # noqa: ANN401  (pytest-django's own)
) -> None:
    run = make_run()
    made = chain.from_iterable((content(at), thinking(at)) for at in range(30_000))
    log(run, made, flush=50)
    with django_assert_max_num_queries(11):
        response = admin_client.get(page_url(run))
    assert "60,000 events" in " ".join(response.content.decode().split())
    assert len(response.content) < 500_000
    per_event = calls_of(lambda: timeline(run)) / 60_000
    assert per_event < 30  # 15, and no more for a longer log
