"""Recorded responses of real providers are tested on machines that have them."""

import pytest

from tests.providers import wire_cases

collect_ignore_glob = [] if wire_cases.IS_HERE else ["test_*_wire.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report in one line if they were tested."""
    if wire_cases.IS_HERE:
        line = "recorded provider streams: tested"
    else:
        line = "recorded provider streams: none here (WIRE_CASES names their folder)"
    terminalreporter.write_line(line)
