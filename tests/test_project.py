"""What stands in more than one file says the same everywhere."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import streaming

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([\w.-]+)(?:\[.+\])?==([^ ;]+)", re.MULTILINE)
PROVIDERS_WITH_A_KEY = ("ANTHROPIC", "OPENAI")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


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


@pytest.mark.parametrize("lock", ["run", "dev", "bench"])
def test_the_locks_hold_what_the_project_needs(lock: str) -> None:
    project = PYPROJECT["project"]
    needs = list(PYPROJECT["dependency-groups"].get(lock, []))
    if lock != "bench":  # which is for others' servers, not for ours
        needs += project["dependencies"] + project["optional-dependencies"]["postgres"]
    locked = pins(lock)
    missing = [need for need in needs if not satisfied(Requirement(need), locked)]
    assert missing == [], "run `make lock`"


def test_what_is_tested_is_what_runs() -> None:
    assert pins("run") <= pins("dev")


@pytest.mark.parametrize("package", ["anthropic", "openai", "uvicorn", "uvloop"])
def test_what_is_measured_against_ours_stands_on_the_same(package: str) -> None:
    assert (package, dict(pins("run"))[package]) in pins("bench")


def test_every_locked_package_has_its_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        unhashed = re.findall(
            r"^[\w.-]+(?:\[.+\])?==(?:(?!\\\n).)*\n", path.read_text(), re.M
        )
        assert unhashed == []


def environment_read(settings: str) -> set[str]:
    """The variables that a settings module reads through `env`."""
    return {
        name
        for node in ast.walk(ast.parse(settings))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        for name in variables(node.args[0])
    }


def variables(argument: ast.expr) -> list[str]:
    """The names that an argument can be: `f"{provider}_BASE_URL"` is one for each."""
    match argument:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(end))]):
            return [f"{provider}{end}" for provider in PROVIDERS_WITH_A_KEY]
        case _:
            raise AssertionError(f"cannot follow {ast.unparse(argument)}")


SETTINGS = environment_read((ROOT / "agentsite" / "settings.py").read_text())


def test_every_way_of_reading_the_environment_is_seen() -> None:
    source = "env.flag('DEBUG')\nenv.text(f'{name.upper()}_KEY')\nos.getenv('HOME')"
    assert environment_read(source) == {"DEBUG", "ANTHROPIC_KEY", "OPENAI_KEY"}
    assert {"PORT", "OPENAI_BASE_URL", "RUN_ABANDON_SECONDS"} <= SETTINGS


def test_the_reference_lists_every_setting_and_no_other() -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| (`[A-Z_]+`.*?) \|", reference, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == SETTINGS


def test_compose_sets_what_the_settings_read() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    set_there = compose["services"]["app"]["environment"].keys()
    assert set_there - SETTINGS == {"FORWARDED_ALLOW_IPS"}  # read by uvicorn
