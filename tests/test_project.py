"""Facts that are in more than one file agree."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import streaming
from agentsite import reference
from agentsite.options import SiteOptions
from streaming import conf
from streaming.options import declarations

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([\w.-]+)(?:\[.+\])?==([^ ;]+)", re.MULTILINE)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETTINGS = {
    declared.name
    for group in (SiteOptions, *conf.groups())
    for declared in declarations(group)
}


def pins(name: str) -> set[tuple[str, str]]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return set(PIN.findall(text))


def satisfied(requirement: Requirement, locked: set[tuple[str, str]]) -> bool:
    name = canonicalize_name(requirement.name)
    versions = [version for pinned, version in locked if pinned == name]
    return bool(versions) and all(v in requirement.specifier for v in versions)


def test_the_version_is_the_same_everywhere() -> None:
    versions = re.findall(r"^## \[(\d.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == PYPROJECT["project"]["version"] == streaming.__version__


@pytest.mark.parametrize("lock", ["run", "dev", "bench", "real-model"])
def test_the_locks_satisfy_the_requirements(lock: str) -> None:
    project = PYPROJECT["project"]
    needs = list(PYPROJECT["dependency-groups"].get(lock, []))
    if lock in ("run", "dev"):  # not of other servers
        extras = project["optional-dependencies"]
        needs += project["dependencies"] + extras["postgres"] + extras["procrastinate"]
        needs += PYPROJECT["dependency-groups"]["site"]
    locked = pins(lock)
    missing = [need for need in needs if not satisfied(Requirement(need), locked)]
    assert missing == [], "run `make lock`"


def test_the_tested_packages_are_those_that_run() -> None:
    assert pins("run") <= pins("dev")


@pytest.mark.parametrize("package", ["anthropic", "openai", "uvicorn", "uvloop"])
def test_the_compared_servers_use_the_same_packages(package: str) -> None:
    assert (package, dict(pins("run"))[package]) in pins("bench")


def test_every_locked_package_has_its_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        unhashed = re.findall(
            r"^[\w.-]+(?:\[.+\])?==(?:(?!\\\n).)*\n", path.read_text(), re.M
        )
        assert unhashed == []


def test_the_configuration_page_is_that_of_the_declarations() -> None:
    assert reference.PAGE.read_text() == reference.render(), "run `make docs`"


def test_the_configuration_page_has_every_setting_once() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \|", reference.PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == SETTINGS
    assert {"PORT", "OPENAI_BASE_URL", "RUN_ABANDON_SECONDS"} <= SETTINGS


def test_the_readme_links_to_the_configuration_page() -> None:
    assert "(docs/configuration.md)" in (ROOT / "README.md").read_text()


@pytest.mark.xdist_group("alone")
def test_xdist_is_given_the_groups_of_tests(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("loadgroup", False):
        assert request.node.nodeid.endswith("@alone")
