"""The built wheel has the app as a whole, and nothing else of the repository."""

import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.conftest import UV, run
from tests.servers import ROOT

pytestmark = pytest.mark.xdist_group("tutorial")

#: The places of the repository's folders in the wheel.
MAPPED = {
    "streaming/": "streaming/",
    "templates/": "streaming/templates/",
    "static/": "streaming/static/",
}
BUILT = ROOT / "node_modules/.browser/libraries"
#: Distributions that only the site needs.
OF_THE_SITE = {"dj-database-url", "django-cors-headers", "python-json-logger"}


def expected() -> set[str]:
    """Return the files that the wheel must have."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    files = {
        place + name.removeprefix(folder)
        for name in listed.decode().splitlines()
        for folder, place in MAPPED.items()
        if name.startswith(folder)
    }
    libraries = BUILT.glob("*.js")
    return files | {f"streaming/static/streaming/libraries/{p.name}" for p in libraries}


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    return {name for name in names if ".dist-info/" not in name}


def test_the_wheel_has_the_app_and_nothing_else(wheel: Path) -> None:
    assert files_of(wheel) == expected()
    assert "streaming/py.typed" in expected()


def test_a_source_distribution_builds_the_same_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    out = ["--quiet", "--out-dir", str(tmp_path)]
    run([*UV, "build", "--sdist", *out], ROOT)
    [sdist] = tmp_path.glob("*.tar.gz")
    run([*UV, "build", "--wheel", *out, str(sdist)], tmp_path)
    [built] = tmp_path.glob("*.whl")
    assert files_of(built) == files_of(wheel)


def test_the_wheel_needs_no_package_of_the_site(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    requirements = map(Requirement, metadata.get_all("Requires-Dist", []))
    needed = {requirement.name for requirement in requirements}
    assert {"django", "psycopg", "servestatic"} <= needed
    assert not needed & OF_THE_SITE
