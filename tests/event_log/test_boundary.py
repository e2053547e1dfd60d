"""The event log's port: other packages of the app reach the log through it alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PORT = "streaming.event_log"
ROW = "streaming.models.EventSegment"


def faults(importer: str, tree: ast.Module) -> Iterator[str]:
    """Yield what a module outside the event log imports of its inside."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if node.module == PORT:  # its submodules have lower-case names
                names = [
                    n for n in names if (SOURCE / f"{n.split('.')[-1]}.py").exists()
                ]
        elif isinstance(node, ast.Attribute) and node.attr == "EventSegment":
            names = [ROW]
        for name in names:
            if name == ROW or name.startswith(f"{PORT}."):
                yield f"{importer} uses {name}"


SOURCE = ROOT / "streaming" / "event_log"


def test_no_other_module_reaches_into_the_event_log() -> None:
    assert [
        fault
        for package in ("streaming", "agentsite", "bench")
        for path in sorted((ROOT / package).rglob("*.py"))
        if SOURCE not in path.parents
        for fault in faults(str(path.relative_to(ROOT)), ast.parse(path.read_text()))
    ] == []


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from streaming.event_log import segments", "streaming.event_log.segments"),
        ("import streaming.event_log.stored", "streaming.event_log.stored"),
        (
            "from streaming.event_log.segments import Segment",
            "streaming.event_log.segments.Segment",
        ),
        ("from streaming.models import EventSegment", ROW),
        ("from streaming import models\nmodels.EventSegment", ROW),
    ],
)
def test_each_fault_is_found(line: str, name: str) -> None:
    assert list(faults("a.py", ast.parse(line))) == [f"a.py uses {name}"]


def test_the_port_itself_may_be_imported() -> None:
    line = "from streaming.event_log import EventLog, stored_log"
    assert list(faults("a.py", ast.parse(line))) == []
