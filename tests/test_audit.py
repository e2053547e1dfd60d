"""The audit of dependencies: reports are read, exceptions end, offline is no fault."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests import advisories, audit
from tests.advisories import Advisories
from tests.available import need

TODAY = date(2026, 5, 1)
PIP: dict[str, list[dict[str, object]]] = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {
            "name": "bad",
            "version": "2.0",
            "vulns": [
                {
                    "id": "PYSEC-2026-1",
                    "aliases": ["CVE-2026-1", "GHSA-aaaa-bbbb-cccc"],
                    "fix_versions": ["2.1"],
                    "description": "It is bad.",
                }
            ],
        },
    ],
    "fixes": [],
}
SKIPPED = {"name": "skipped", "skip_reason": "Dependency not found on PyPI"}
NPM = {
    "auditReportVersion": 2,
    "vulnerabilities": {
        "worse": {
            "name": "worse",
            "severity": "high",
            "via": [
                {
                    "source": 1,
                    "name": "worse",
                    "title": "It is worse.",
                    "url": "https://github.com/advisories/GHSA-dddd-eeee-ffff",
                    "range": "<3",
                }
            ],
        },
        "user": {"name": "user", "severity": "high", "via": ["worse"]},
    },
}


def test_the_vulnerabilities_of_a_report_are_found() -> None:
    [python] = audit.of_pip_audit(PIP)
    assert str(python) == (
        "bad 2.0: CVE-2026-1, GHSA-aaaa-bbbb-cccc, PYSEC-2026-1 (fixed in 2.1)"
    )
    [npm] = audit.of_npm(NPM)
    assert str(npm) == "worse <3: GHSA-dddd-eeee-ffff It is worse."


def test_an_exception_ends_at_its_date() -> None:
    text = "# comment\n\nCVE-1 2026-05-02 Not used.\nCVE-2 2026-05-01 It is over.\n"
    assert audit.read_exceptions(text, TODAY) == {"CVE-1"}


@pytest.mark.parametrize("line", ["CVE-1", "CVE-1 2026-05-02", "CVE-1 soon Later."])
def test_an_exception_without_date_or_reason_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):
        audit.read_exceptions(line, TODAY)


def test_the_exceptions_of_the_project_can_be_read() -> None:
    audit.read_exceptions(audit.EXCEPTIONS.read_text(), TODAY)


def program(path: Path, output: str, error: str = "", status: int = 0) -> None:
    """Write a program that prints these texts."""
    path.write_text(
        f"#!{sys.executable}\nimport sys\nprint({output!r})\n"
        f"print({error!r}, file=sys.stderr)\nsys.exit({status})\n"
    )
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the programs that report."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_vulnerability_without_exception_fails(
    programs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(programs / "pip-audit", json.dumps(PIP), "Found 1", 1)
    program(programs / "npm", json.dumps(NPM), "", 1)
    assert audit.main(str(programs / "pip-audit")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:5] for line in lines] == ["Packa", "  bad", "Packa", "  wor"]
    exceptions = programs / "exceptions.txt"
    exceptions.write_text(
        "CVE-2026-1 9999-01-01 Unused.\nGHSA-dddd-eeee-ffff 9999-01-01 Unused.\n"
    )
    monkeypatch.setattr(audit, "EXCEPTIONS", exceptions)
    assert audit.main(str(programs / "pip-audit")) == 0


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ("", "ERROR:pip_audit: HTTPSConnectionPool(…): Max retries exceeded"),
        (json.dumps({"error": {"code": "ENOAUDIT", "summary": ""}}), ""),
        (json.dumps({"message": "getaddrinfo EAI_AGAIN", "error": {"x": ""}}), ""),
    ],
)
def test_a_service_that_cannot_be_reached_is_one_line_and_no_failure(
    programs: Path, capsys: pytest.CaptureFixture[str], output: str, error: str
) -> None:
    for name in ("pip-audit", "npm"):
        program(programs / name, output, error, 1)
    assert audit.main(str(programs / "pip-audit")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("not audited" in line for line in lines)


def test_packages_that_the_index_does_not_know_are_named(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(programs / "npm", json.dumps({"vulnerabilities": {}}))
    good, bad = PIP["dependencies"]
    for dependencies, status, sentence in (
        ([SKIPPED], 0, "not audited, no advisories came (the index has none)"),
        ([SKIPPED, good], 0, "that the index does not know: skipped."),
        ([SKIPPED, bad], 1, "that the index does not know: skipped."),
    ):
        program(programs / "pip-audit", json.dumps({"dependencies": dependencies}))
        assert audit.main(str(programs / "pip-audit")) == status
        assert sentence in capsys.readouterr().out


def test_any_other_failure_is_one(programs: Path) -> None:
    program(programs / "pip-audit", "", "error: invalid option", 2)
    with pytest.raises(RuntimeError, match="invalid option"):
        audit.main(str(programs / "pip-audit"))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Advisories]:
    """The service that pip-audit and npm use; it has two packages of Python."""
    lock = tmp_path / "lock.txt"
    names = ("anyio==4.16.0", "django==5.2.19")
    lock.write_text("".join(f"{name} --hash=sha256:{'0' * 64}\n" for name in names))
    monkeypatch.setattr(audit, "LOCKS", (lock,))
    with advisories.serve(tmp_path) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield service


def test_the_programs_find_the_vulnerabilities_that_their_services_know(
    service: Advisories, capsys: pytest.CaptureFixture[str]
) -> None:
    need("node")
    pip_audit = need("audit")
    assert audit.main(pip_audit) == 0
    said = capsys.readouterr().out
    assert said.count(": 0 known vulnerabilities.") == 2, said
    service.python["django"] = {
        "id": "PYSEC-2026-1",
        "aliases": ["CVE-2026-1"],
        "fixed_in": ["99.0"],
        "details": "It is bad.",
    }
    service.npm["marked"] = {
        "id": 1,
        "url": "https://github.com/advisories/GHSA-dddd-eeee-ffff",
        "title": "It is worse.",
        "severity": "high",
        "vulnerable_versions": "<999",
    }
    assert audit.main(pip_audit) == 1
    said = capsys.readouterr().out
    assert "CVE-2026-1, PYSEC-2026-1 (fixed in 99.0)" in said
    assert "  django " in said
    assert "  marked <999: GHSA-dddd-eeee-ffff It is worse." in said
    service.status = 503
    assert audit.main(pip_audit) == 0
    assert capsys.readouterr().out.count("not audited") == 2
