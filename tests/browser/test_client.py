"""The page's client, tested in its own language."""

import shutil
import subprocess
from pathlib import Path

from tests import available

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/browser/client.test.mjs"
MODULES = "static/streaming"


def test_the_client_holds_what_its_own_tests_ask(tmp_path: Path) -> None:
    # Older versions of Node.js take `.js` for a module only where a package says so.
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / TESTS).parent.mkdir(parents=True)
    shutil.copy(ROOT / TESTS, tmp_path / TESTS)
    shutil.copytree(ROOT / MODULES, tmp_path / MODULES)
    node = available.node_path() or "node"
    run = subprocess.run(
        [node, "--test", TESTS], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\n# pass 0\n" not in run.stdout
