"""Trace contexts of requests, and the run in log records."""

import asyncio
import logging

import pytest

from streaming.telemetry.context import (
    RunContext,
    RunFilter,
    enter_run,
    parse_traceparent,
    trace_of,
)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RUN = "0192f3577b34da6a3ce929d0e0e47361"


@pytest.mark.parametrize(
    ("header", "parsed"),
    [
        (f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01"),
        (f" 00-{TRACE}-{PARENT}-00 ", f"00-{TRACE}-{PARENT}-00"),
        (f"00-{TRACE}-{PARENT}-03", f"00-{TRACE}-{PARENT}-01"),
        (f"cc-{TRACE}-{PARENT}-01-what-comes", f"00-{TRACE}-{PARENT}-01"),
        ("", ""),
        ("nonsense", ""),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{PARENT}-01", ""),
        (f"00-{TRACE}-{PARENT}-011", ""),
    ],
)
def test_only_a_valid_trace_context_is_taken(header: str, parsed: str) -> None:
    assert parse_traceparent(header) == parsed


def test_the_trace_of_a_run_is_that_of_its_request_or_its_own_id() -> None:
    assert trace_of(RUN, f"00-{TRACE}-{PARENT}-01") == TRACE
    assert trace_of(RUN, "") == RUN


def record(**fields: str) -> logging.LogRecord:
    made = logging.LogRecord("streaming", logging.INFO, "", 0, "x", (), None)
    vars(made).update(fields)
    assert RunFilter().filter(made)
    return made


async def test_records_of_a_run_name_it_in_all_of_its_tasks() -> None:
    async def in_run() -> logging.LogRecord:
        enter_run(RunContext(RUN, "acme", TRACE))
        return await asyncio.create_task(in_task())

    async def in_task() -> logging.LogRecord:
        return record(run_id="another")

    inside = vars(await asyncio.create_task(in_run()))
    assert (inside["org_id"], inside["trace_id"]) == ("acme", TRACE)
    assert inside["run_id"] == "another"  # the record knows better
    assert "run_id" not in vars(record())
