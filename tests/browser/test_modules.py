"""The page's modules that need no page, tested in their own language."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import available

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = "static/streaming"


@pytest.mark.parametrize("tests", ["client.test.mjs", "markdown.test.mjs"])
def test_the_modules_hold_what_their_own_tests_ask(tests: str, tmp_path: Path) -> None:
    # Older versions of Node.js take `.js` for a module only where a package says so.
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copytree(ROOT / MODULES, tmp_path / MODULES)
    there = tmp_path / HERE.relative_to(ROOT)
    there.mkdir(parents=True)
    shutil.copy(HERE / tests, there)
    node = available.node_path() or "node"
    run = subprocess.run(
        [node, "--test", str(there / tests)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\n# pass 0\n" not in run.stdout
