"""The tests on docs/testing.md pass as they are written, in a project with its app."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, SECONDS, fenced, site_environment

SETTINGS = """
from tests.settings import *

INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
"""
NAME = re.compile(r"# (shop/\w+\.py)\n")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with the files of the page, and settings that have their app."""
    (tmp_path / "project_settings.py").write_text(SETTINGS)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    files = {}
    for block in fenced("testing.md", "python"):
        name = NAME.match(block)
        assert name, block
        files[name[1]] = block
    assert list(files) == ["shop/agents.py", "shop/tests.py", "shop/test_support.py"]
    for path, block in files.items():
        (tmp_path / path).write_text(block)
    return tmp_path


def run(project: Path, *command: str) -> str:
    """Run Python in the project; return all of its output."""
    environment = {
        **site_environment(project),
        "DJANGO_SETTINGS_MODULE": "project_settings",
        "PYTHONPATH": f"{project}:{ROOT}",
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_documented_tests_pass_under_pytest(project: Path) -> None:
    files = ("shop/tests.py", "shop/test_support.py")
    said = run(project, "-m", "pytest", "-p", "no:cacheprovider", *files)
    assert "5 passed" in said, said


def test_the_documented_tests_pass_under_django_with_sqlite_in_memory(
    project: Path,
) -> None:
    with (project / "project_settings.py").open("a") as settings:
        settings.write(
            "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3',"
            " 'NAME': ':memory:'}}\n"
        )
    said = run(project, "-m", "django", "test", "shop")
    assert "Ran 4 tests" in said
    assert "OK" in said
