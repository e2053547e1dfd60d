"""The poll: one statement for the new rows of many runs."""

import random
from collections.abc import Mapping

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from streaming.event_log import stored_log
from streaming.event_log.new_rows import read_new, statement
from streaming.event_log.segments import Segment, save
from streaming.events import Content, Entry, encode_all
from streaming.models import Run, RunStatus
from tests.event_log.test_database_log import WORKER, make_run

pytestmark = pytest.mark.django_db


def fill(run: Run, rows: int, events: int = 3) -> None:
    """Store a log of so many rows."""
    for row in range(rows):
        lines = encode_all([Content(content=str(row)) for _ in range(events)])
        save([Segment(run.pk, row * events + 1, lines, run.attempt)], WORKER)


def expected(positions: Mapping[str, int]) -> dict[str, list[Entry]]:
    """The same, read log by log."""
    read = stored_log().read_all
    found = {run: list(read(run, after)) for run, after in positions.items()}
    return {run: entries for run, entries in found.items() if entries}


def test_new_rows_are_those_after_the_number_of_each_run() -> None:
    chance = random.Random(1)
    runs = [make_run() for _ in range(12)]
    for run in runs:
        fill(run, chance.randrange(5))
    for run in runs[:4]:
        Run.objects.filter(pk=run.pk).update(status=RunStatus.COMPLETED)
    Run.objects.filter(pk=runs[4].pk).update(status=RunStatus.QUEUED)
    gone = "0" * 32
    ended_ids = {*(run.pk for run in runs[:4]), runs[5].pk, gone}
    Run.objects.filter(pk=runs[5].pk).delete()
    for _ in range(20):
        positions = {run.pk: chance.choice((0, 2, 3, 7, 10**12)) for run in runs}
        positions[gone] = 0
        found, ended = read_new(positions)
        assert found == expected(positions)
        assert ended == ended_ids
    assert read_new({}) == ({}, set())


def test_the_poll_is_one_statement_that_looks_up_each_run() -> None:
    runs = [make_run() for _ in range(200)]
    for run in runs:
        fill(run, 8)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    positions = {run.pk: 21 for run in runs}
    with CaptureQueriesContext(connection) as queries:
        found, _ = read_new(positions)
    assert len(queries) == 1
    assert len(found) == 200
    assert {entry.number for entry in found[runs[0].pk]} == {22, 23, 24}
    plan = explain(positions)
    if connection.vendor == "postgresql":
        assert "Index Scan using segment_unique_in_run" in plan
        assert "Seq Scan on streaming_eventsegment" not in plan
    else:
        assert "SEARCH segment USING INDEX" in plan
        assert "run_id=? AND last_id>?" in plan
        assert "SEARCH run USING INDEX" in plan
        assert "SCAN segment" not in plan


def explain(positions: Mapping[str, int]) -> str:
    """Return the database's plan of the poll."""
    sql, parameters = statement(positions)
    word = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{word} {sql}", parameters)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())
