"""Runs the tests against the built wheel, installed where no checkout is in reach.

`python -m tests.installed VENV PATH…` builds the wheel, installs it into an environment
that has the locked packages, copies the checkout without the app, and runs pytest there
on the paths, by default on all that can be tested so. The app is then imported from the
environment's site-packages, with the templates and static files of the wheel.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import streaming

ROOT = Path(__file__).resolve().parent.parent
UV = (sys.executable, "-m", "uv")
#: The folders of the checkout that the wheel contains.
PACKAGED = ("streaming", "templates", "static")
#: The variable with the directory in which the app must be imported.
EXPECTED = "TEST_INSTALLED_IN"
#: Tests of the checkout itself, and the reasons.
OF_THE_CHECKOUT = {
    "tests/browser": "the JavaScript is tested as it is written",
    "tests/packaging": "they build and install the wheel themselves",
    "tests/event_log/test_boundary.py": "it reads the sources",
    "tests/test_architecture.py": "it reads the sources",
    "tests/test_audit.py": "it audits the lock files",
    "tests/test_docs.py": "it compares the documentation with the sources",
    "tests/test_glossary.py": "it reads the sources",
    "tests/test_language.py": "it reads the sources",
    "tests/test_pages.py::test_the_page_names_the_libraries_that_exist": (
        "the wheel always has the libraries"
    ),
    "tests/test_private_parts.py": "it reads the sources",
    "tests/test_project.py": "it reads the lock files beside the sources",
}


def main(venv: Path, arguments: Sequence[str]) -> int:
    """Install the wheel, and run pytest on a copy of the tests; return its status."""
    with tempfile.TemporaryDirectory(prefix="agent-installed-") as made:
        directory = Path(made)
        install_wheel(venv, directory / "dist")
        copy = directory / "checkout"
        copy_checkout(copy)
        command = [str(venv / "bin/python"), "-m", "pytest", *ignored(), *arguments]
        environment = {**os.environ, EXPECTED: str(venv)}
        environment.pop("PYTHONPATH", None)
        return subprocess.run(command, cwd=copy, env=environment).returncode


def install_wheel(venv: Path, directory: Path) -> None:
    """Build the wheel, and replace the one in an environment by it."""
    build = [*UV, "build", "--quiet", "--wheel", "--out-dir", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True)
    [wheel] = directory.glob("*.whl")
    python = ["--python", str(venv / "bin/python")]
    install = [*UV, "pip", "install", "--quiet", "--no-deps", "--reinstall", *python]
    subprocess.run([*install, str(wheel)], check=True)


def copy_checkout(target: Path) -> None:
    """Copy all files of the checkout but those of the app; link the packages of npm."""
    for name in listed_files():
        if name.parts[0] not in PACKAGED and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    if (ROOT / "node_modules").exists():
        (target / "node_modules").symlink_to(ROOT / "node_modules")


def listed_files() -> Iterator[Path]:
    """Yield the paths of all files that belong to the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    yield from map(Path, listed.decode().splitlines())


def ignored() -> list[str]:
    """Return the arguments that leave out the tests of the checkout."""
    return [
        f"--{'deselect' if '::' in path else 'ignore'}={path}"
        for path in OF_THE_CHECKOUT
    ]


def static_directory() -> Path:
    """Return the directory of the app's static files: in the package, or here."""
    packaged = Path(streaming.__file__).parent / "static"
    return packaged if packaged.is_dir() else ROOT / "static"


def check_origin(imported: Path) -> None:
    """Raise `RuntimeError` if the app is not the installed one, where it must be."""
    expected = os.environ.get(EXPECTED)
    if not expected:
        return
    installed = Path(expected).resolve()
    found = imported.resolve()
    if not (found.is_relative_to(installed) and "site-packages" in found.parts):
        raise RuntimeError(f"streaming is {found}, and not installed in {expected}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), sys.argv[2:]))
