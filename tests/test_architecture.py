"""The rules of the house: its table of layers stands in ARCHITECTURE.md."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
APP = "streaming"
VENDORS = {"anthropic", "openai"}
#: The one module of the app that reads the environment: keys and base URLs.
ENVIRONMENT_READER = f"{APP}.providers.environment"
LONGEST_FUNCTION = 60
LONGEST_MODULE = 350

ROW = re.compile(r"^\| (`.+`) \|.*\| (yes|no) \|$", re.MULTILINE)


class Place(NamedTuple):
    """Where a module stands: its row from the top, and whether it may know Django."""

    row: int
    django: bool


def places(markdown: str) -> dict[str, Place]:
    """The table of layers: each name in it, and where it stands."""
    return {
        name: Place(row, django == "yes")
        for row, (names, django) in enumerate(ROW.findall(markdown))
        for name in re.findall(r"`(\w+)`", names)
    }


def room(module: str) -> str:
    """`streaming.wire.sse` lives in `wire`, `agentsite.urls` in `agentsite`."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == APP else package


class CodeBase:
    """The modules below `root`, parsed, with who imports whom."""

    def __init__(self, root: Path, markdown: str) -> None:
        self.places = places(markdown)
        self.sources = {
            _module_name(path.relative_to(root)): path.read_text()
            for package in (APP, "agentsite")
            for path in sorted((root / package).rglob("*.py"))
            if "migrations" not in path.parts
        }
        self.trees = {name: ast.parse(text) for name, text in self.sources.items()}
        self.imports = {
            name: [self._owner(imported) for imported in _imported(tree)]
            for name, tree in self.trees.items()
        }

    def _owner(self, imported: str) -> str:
        """The module of ours that an imported name is, or is from; else its package."""
        parts = imported.split(".")
        prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        return next((p for p in prefixes if p in self.sources), parts[0])

    def faults(self) -> list[str]:
        """Every breach of a rule, as a sentence."""
        return sorted(
            {
                *self._table(),
                *self._directions(),
                *self._foreigners(),
                *self._cycles(),
                *self._relative_imports(),
                *self._environment(),
                *self._sizes(),
            }
        )

    def _rooms(self) -> set[str]:
        return {room(name) for name in self.sources} - {""}

    def _table(self) -> Iterator[str]:
        for name in self._rooms() - self.places.keys():
            yield f"{name} is not in the table"
        for name in self.places.keys() - self._rooms():
            yield f"{name} is in the table but not in the code"

    def _pairs(self) -> Iterator[tuple[str, str, Place, Place]]:
        """Imports between rooms, as (importer, imported) with where they stand."""
        for importer, imported in self._edges():
            here, there = (
                self.places.get(room(importer)),
                self.places.get(room(imported)),
            )
            if room(importer) != room(imported) and here and there:
                yield importer, imported, here, there

    def _edges(self) -> Iterator[tuple[str, str]]:
        for importer, names in self.imports.items():
            yield from ((importer, name) for name in names if name in self.sources)

    def _directions(self) -> Iterator[str]:
        for importer, imported, here, there in self._pairs():
            if there.row < here.row:
                yield f"{importer} imports {imported}, which stands above it"
            elif there.row == here.row:
                yield f"{importer} imports {imported}, which stands beside it"
            if there.django and not here.django:
                yield f"{importer} imports {imported}, which knows Django"

    def _foreigners(self) -> Iterator[str]:
        for importer, names in self.imports.items():
            place = self.places.get(room(importer))
            if "django" in names and place and not place.django:
                yield f"{importer} imports Django"
            if room(importer) != "providers":
                for vendor in VENDORS.intersection(names):
                    yield f"{importer} imports {vendor}'s SDK"

    def _cycles(self) -> Iterator[str]:
        graph: dict[str, set[str]] = {name: set() for name in self.sources}
        for importer, imported in self._edges():
            if importer != imported:
                graph[importer].add(imported)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield "a cycle: " + " < ".join(error.args[1])

    def _relative_imports(self) -> Iterator[str]:
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.level:
                    yield f"{name} has a relative import"

    def _environment(self) -> Iterator[str]:
        for name, tree in self.trees.items():
            if name == ENVIRONMENT_READER:
                continue
            inherited = _handed_on_whole(tree)
            for node in ast.walk(tree):
                read = isinstance(node, ast.Attribute) and node.attr in READS
                if read and node not in inherited and name.startswith(f"{APP}."):
                    yield f"{name} reads the environment"

    def _sizes(self) -> Iterator[str]:
        for name, text in self.sources.items():
            if (lines := len(text.splitlines())) > LONGEST_MODULE:
                yield f"{name} has {lines} lines"
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or node.lineno) - node.lineno + 1
                    if lines > LONGEST_FUNCTION:
                        yield f"{name}.{node.name} has {lines} lines"


READS = {"environ", "getenv"}


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _handed_on_whole(tree: ast.Module) -> set[ast.expr]:
    """The mappings that others are made from, as `{**os.environ}` for a child."""
    return {
        value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is None
    }


def _imported(tree: ast.Module) -> Iterator[str]:
    """Every name that is imported anywhere in a module, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_house_keeps_its_rules() -> None:
    assert CodeBase(ROOT, (ROOT / "ARCHITECTURE.md").read_text()).faults() == []


TABLE = """
| modules | what | Django |
|---|---|---|
| `agentsite` | the site | yes |
| `api`, `admin` | HTTP | yes |
| `providers` | models | no |
"""
SOUND = {
    "agentsite/urls.py": "from streaming import api, admin",
    "streaming/__init__.py": "",
    "streaming/api/__init__.py": "import django\nimport streaming.providers.base",
    "streaming/api/run.py": "from streaming.api import shared",
    "streaming/api/shared.py": "from django.http import HttpRequest",
    "streaming/api/child.py": "import os\nENV = {**os.environ, 'A': 'b'}",
    "streaming/admin.py": "from streaming.providers import base",
    "streaming/providers/base.py": "import json",
    "streaming/providers/anthropic.py": "import anthropic",
    "streaming/providers/environment.py": "import os\nKEY = os.environ['KEY']",
    "streaming/migrations/0001_initial.py": "from streaming import admin",
}


def build(root: Path, files: dict[str, str]) -> CodeBase:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return CodeBase(root, TABLE)


def test_a_sound_house_has_no_faults(tmp_path: Path) -> None:
    assert build(tmp_path, SOUND).faults() == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("streaming/more.py", "", "more is not in the table"),
        (
            "streaming/providers/base.py",
            "def late():\n    from streaming.admin import site",
            "streaming.providers.base imports streaming.admin, which stands above it",
        ),
        (
            "streaming/admin.py",
            "from streaming.api.run import run",
            "streaming.admin imports streaming.api.run, which stands beside it",
        ),
        (
            "streaming/providers/base.py",
            "import streaming.api",
            "streaming.providers.base imports streaming.api, which knows Django",
        ),
        (
            "streaming/providers/base.py",
            "from django.conf import settings",
            "streaming.providers.base imports Django",
        ),
        (
            "streaming/api/run.py",
            "from openai.types import Chat",
            "streaming.api.run imports openai's SDK",
        ),
        (
            "streaming/api/shared.py",
            "from streaming.api.run import run",
            "a cycle: streaming.api.run < streaming.api.shared < streaming.api.run",
        ),
        (
            "streaming/api/run.py",
            "from . import shared",
            "streaming.api.run has a relative import",
        ),
        (
            "streaming/api/run.py",
            "import os\nDEBUG = os.environ['DEBUG']",
            "streaming.api.run reads the environment",
        ),
        (
            "streaming/api/environment.py",
            "import os\nKEY = os.getenv('KEY')",
            "streaming.api.environment reads the environment",
        ),
        (
            "streaming/api/run.py",
            "async def run():\n" + "    x = 1\n" * LONGEST_FUNCTION,
            "streaming.api.run.run has 61 lines",
        ),
        (
            "streaming/api/run.py",
            "x = 1\n" * (LONGEST_MODULE + 1),
            "streaming.api.run has 351 lines",
        ),
    ],
)
def test_each_fault_is_found(tmp_path: Path, name: str, text: str, fault: str) -> None:
    assert fault in build(tmp_path, SOUND | {name: text}).faults()


def test_a_layer_without_code_is_found(tmp_path: Path) -> None:
    files = {name: text for name, text in SOUND.items() if name != "streaming/admin.py"}
    fault = "admin is in the table but not in the code"
    assert fault in build(tmp_path, files).faults()
