"""The modules that need no page, tested in Node.js."""

import subprocess
from pathlib import Path

import pytest

from tests import available

HERE = Path(__file__).parent
SECONDS = 300


@pytest.mark.parametrize("tests", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_the_modules_pass_their_own_tests(tests: str) -> None:
    if "oracle" in tests:
        available.need("packages")
    node = available.node_path() or "node"
    command = [node, "--test", str(HERE / tests)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\n# pass 0\n" not in run.stdout
