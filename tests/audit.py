"""Known vulnerabilities of the locked packages, from pip-audit and `npm audit`.

`python -m tests.audit PIP_AUDIT` fails if a vulnerability has no exception in
requirements/audit-exceptions.txt. Each exception has a date, from which it is one no
more. A service of advisories that cannot be reached is reported in one line and is no
failure: without a network, all other checks go on.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
EXCEPTIONS = REQUIREMENTS / "audit-exceptions.txt"
LOCKS = (REQUIREMENTS / "run.txt", REQUIREMENTS / "dev.txt")
SECONDS = 300
UNREACHABLE = re.compile(
    r"connection|timed? ?out|max retries|name resolution|getaddrinfo|ENOTFOUND|"
    r"ECONN\w+|EAI_AGAIN|ENOAUDIT|\b(?:403|404|405|429|5\d\d)\b",
    re.IGNORECASE,
)


class Unreachable(Exception):
    """A service of advisories that gave no answer."""


class Advisory(NamedTuple):
    """A vulnerability of a package, with all the ids under which it is known."""

    package: str
    ids: frozenset[str]
    title: str

    def __str__(self) -> str:
        return f"{self.package}: {', '.join(sorted(self.ids))} {self.title}".strip()


def of_pip_audit(report: Mapping[str, Any]) -> Iterator[Advisory]:
    """Yield the vulnerabilities in a report of pip-audit."""
    for package in report["dependencies"]:
        for found in package.get("vulns", ()):
            ids = frozenset((found["id"], *found["aliases"]))
            name = f"{package['name']} {package['version']}"
            fixed = ", ".join(found["fix_versions"])
            yield Advisory(name, ids, f"(fixed in {fixed})" if fixed else "")


def of_npm(report: Mapping[str, Any]) -> Iterator[Advisory]:
    """Yield the vulnerabilities in a report of npm, each once."""
    for package in report["vulnerabilities"].values():
        for cause in package["via"]:
            if isinstance(cause, dict):  # a name stands for another package's advisory
                name = f"{cause['name']} {cause['range']}"
                ids = frozenset([cause["url"].rpartition("/")[2]])
                yield Advisory(name, ids, cause["title"])


def read_exceptions(text: str, today: date) -> set[str]:
    """Return the ids that are accepted today: lines of an id, a date and a reason."""
    lines = [line.split(maxsplit=2) for line in text.splitlines()]
    entries = [line for line in lines if line and not line[0].startswith("#")]
    return {
        name for name, until, reason in entries if today < date.fromisoformat(until)
    }


def report_of(command: Sequence[str]) -> Any:  # noqa: ANN401  (JSON)
    """Return the JSON that a command prints. Raises `Unreachable`."""
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Unreachable("timed out") from None
    try:
        report = json.loads(ended.stdout)
    except json.JSONDecodeError:
        report = {"error": {"summary": ended.stderr}}
    if error := report.get("error"):
        lines = f"{error.get('summary') or ''}\n{report.get('message') or ''}"
        last = lines.strip().splitlines()[-1:] or ["no output"]
        if UNREACHABLE.search(f"{lines}{ended.stderr}{error.get('code')}"):
            raise Unreachable(last[0][:200])
        raise RuntimeError(f"{command[0]}: {lines}{ended.stderr}")
    return report


def found_in_python(pip_audit: str) -> list[Advisory]:
    """Return the vulnerabilities of the packages for this version of Python.

    A mirror of PyPI may have the packages and none of the advisories: pip-audit then
    skips packages, and finds no vulnerability of these.
    """
    locks = [f"--requirement={path}" for path in LOCKS]
    options = ("--disable-pip", "--format=json", "--progress-spinner=off")
    report = report_of([pip_audit, *locks, *options])
    packages = report["dependencies"]
    skipped = [p["name"] for p in packages if "skip_reason" in p]
    if len(skipped) == len(packages):
        raise Unreachable("the index has none")
    if skipped:
        print(f"Packages of Python that the index does not know: {', '.join(skipped)}.")
    return [*of_pip_audit(report)]


def found_in_npm() -> list[Advisory]:
    """Return the vulnerabilities of the page's libraries and of the tests' packages."""
    npm = shutil.which("npm")
    if not npm:
        raise Unreachable("no npm here")
    options = ("--json", "--package-lock-only", "--fetch-retries=0")
    return [*of_npm(report_of([npm, "audit", *options]))]


def main(pip_audit: str) -> int:
    """Print a line for each vulnerability without an exception; 1 if there is one."""
    accepted = read_exceptions(EXCEPTIONS.read_text(), date.today())
    status = 0
    audits: dict[str, Callable[[], list[Advisory]]] = {
        "Python": partial(found_in_python, pip_audit),
        "npm": found_in_npm,
    }
    for kind, find in audits.items():
        try:
            found = find()
        except Unreachable as error:
            print(f"Packages of {kind}: not audited, no advisories came ({error}).")
            continue
        bad = [advisory for advisory in found if not advisory.ids & accepted]
        print(f"Packages of {kind}: {len(bad)} known vulnerabilities.")
        print(*(f"  {advisory}\n" for advisory in bad), sep="", end="")
        status |= bool(bad)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
