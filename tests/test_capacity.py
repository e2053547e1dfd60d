"""The tables of docs/capacity.md follow from its inputs and measurements."""

import ast
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest

from streaming import conf
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "capacity.md").read_text()
RESULTS = (ROOT / "bench" / "RESULTS.md").read_text()
FLEET = (ROOT / "bench" / "FLEET.md").read_text()
SIZES = {"10,000": 10_000, "1,000,000": 1_000_000}
REDIS = "elsewhere, Redis"
#: Printed values have two or three significant digits.
ROUNDING = 0.06
FUNCTIONS = {"ceil": math.ceil, "min": min, "max": max}


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, without its head."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    rows = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows[2:]]


def number(text: str) -> float:
    """Return a printed number, such as `1,300` or `3.7`."""
    return float(text.replace(",", ""))


INPUTS = {name.strip("`"): number(value) for name, value, *_ in table("Inputs")}
MEASURED = {name.strip("`"): number(value) for name, value, *_ in table("Measurements")}


def evaluate(formulas: Sequence[tuple[str, str]], streams: int) -> dict[str, float]:
    """Return the value of each formula; one may use the names above it."""
    known: dict[str, Any] = {**FUNCTIONS, **INPUTS, **MEASURED, "S": streams}
    found = {}
    for name, formula in formulas:
        names = {n.id for n in ast.walk(ast.parse(formula)) if isinstance(n, ast.Name)}
        assert names <= known.keys(), f"{name} uses {names - known.keys()}"
        found[name] = known[name] = float(eval(formula, {"__builtins__": {}}, known))
    return found


def printed_formulas(heading: str) -> list[tuple[str, str]]:
    return [(row[0].strip("`"), row[1].strip("`")) for row in table(heading)]


@pytest.mark.parametrize("size", SIZES)
def test_the_needs_follow_from_the_formulas(size: str) -> None:
    column = 2 + [*SIZES].index(size)
    found = evaluate(printed_formulas("Needs"), SIZES[size])
    printed = {row[0].strip("`"): number(row[column]) for row in table("Needs")}
    assert printed == pytest.approx(found, rel=ROUNDING)


def test_the_limits_follow_from_the_formulas() -> None:
    found = evaluate(printed_formulas("Limits"), 0)
    printed = {row[0].strip("`"): number(row[2]) for row in table("Limits")}
    assert printed == pytest.approx(found, rel=ROUNDING)
    assert [*printed.values()] == sorted(printed.values()), "the first limit is first"


def cell(page: str, row: str, column: str) -> str:
    """Return a cell of the table of a page that has this row and column."""
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        head, _, *rows = [
            [each.strip() for each in line.strip("|").split("|")]
            for line in block.replace("|\n", "\n").splitlines()
        ]
        for found in rows:
            if column in head and found[0] == row:
                return str(found[head.index(column)])
    raise AssertionError(f"no {column} of {row}")


def test_the_measurements_are_those_of_the_bench() -> None:
    ours = "ours, durable"
    assert MEASURED["stream_kb"] == number(cell(RESULTS, ours, "kB a stream"))
    assert MEASURED["process_mb"] == number(cell(RESULTS, ours, "RSS, MB"))
    assert MEASURED["held"] == number(cell(RESULTS, ours, "streams held"))
    paced = RESULTS.partition("## Streams held")[2]
    assert MEASURED["event_us"] == number(cell(paced, ours, "CPU a delta, µs"))
    elsewhere = RESULTS.partition("## Readers in other processes")[2]
    assert MEASURED["pg_us"] == number(cell(elsewhere, REDIS, "PostgreSQL"))
    assert MEASURED["redis_us"] == number(cell(elsewhere, REDIS, "Redis"))


def test_the_measurements_are_those_of_the_fleet() -> None:
    costs = FLEET.partition("## Cost")[2]
    [(processes, connections, wal)] = re.findall(
        r"(\d) web processes.*?^\| 200 \|[^|]+\|([^|]+)\|[^|]+\|[^|]+\| (\d+) \|",
        costs,
        re.MULTILINE | re.DOTALL,
    )
    held = {role: int(count) for role, count in re.findall(r"(\w+) (\d+)", connections)}
    assert MEASURED["web_connections"] * int(processes) == held["web"]
    assert MEASURED["worker_connections"] * int(processes) == held["worker"]
    assert MEASURED["wal_bytes"] == number(wal)


def test_the_inputs_are_the_defaults_of_the_settings() -> None:
    assert INPUTS["flush"] * 1000 == conf.get().event_flush_ms
    assert INPUTS["tick"] * 1000 == conf.get().event_live_ms
