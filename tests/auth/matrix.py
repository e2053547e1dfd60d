"""The access matrix: every route and method, as every kind of caller.

docs/authentication.md has the expected table. `python -m tests.auth.matrix` prints it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from django.urls import URLPattern, URLResolver

from tests.servers import ROOT

PAGE = ROOT / "docs" / "authentication.md"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CALLERS = (
    "none",
    "session, no token",
    "session",
    "colleague",
    "stranger",
    "key: read",
    "key: admin",
    "anonymous",
    "open",
)
HEAD = ("path", "method", "scope", *CALLERS)
#: The row of all paths without a route of their own.
REST = "any other path"

#: A path and a method.
Route = tuple[str, str]
#: The scope, and the status for each kind of caller.
Row = tuple[str, ...]


def expected(page: Path = PAGE) -> dict[Route, Row]:
    """Return the rows of the table in the documentation."""
    start = f"| {' | '.join(HEAD)} |\n"
    _, found, rest = page.read_text().partition(start)
    assert found, f"{page.name} has no table with the head {start}"
    rows = {}
    for line in rest.splitlines()[1:]:
        if not line.startswith("|"):
            break
        path, method, *row = (cell.strip(" `") for cell in line.strip("|").split("|"))
        rows[path, method] = tuple(row)
    return rows


def rendered(rows: dict[Route, Row]) -> str:
    """Return rows as a table in Markdown."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for (path, method), row in rows.items():
        shown = path if path == REST else f"`{path}`"
        lines.append((shown, method, *row))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def paths(patterns: Sequence[URLPattern | URLResolver]) -> list[str]:
    """Return the paths of an URLconf, with parameters as `{name}`."""
    found = []
    for pattern in patterns:
        assert isinstance(pattern, URLPattern), f"included URLs: {pattern}"
        written = str(pattern.pattern)
        if written.startswith("^"):
            found.append(REST)
        else:
            found.append("/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", written))
    return found


if __name__ == "__main__":
    print(rendered(expected()))
