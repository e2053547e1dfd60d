"""Fixtures for agents: apps that declare them, and callers of the API."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Protocol

import pytest
from django.apps import apps
from django.http import HttpRequest
from django.test import modify_settings, override_settings

from streaming.principals import ANONYMOUS, Principal
from tests.conftest import ChangeSettings


class InstallApp(Protocol):
    """The type of the fixture `install`."""

    def __call__(self, name: str = "shop", **modules: str) -> None: ...


@pytest.fixture
def apps_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for apps, whose modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for package in tmp_path.iterdir():
        apps.all_models.pop(package.name, None)
        for module in [each for each in sys.modules if _is_in(each, package.name)]:
            del sys.modules[module]


def _is_in(module: str, package: str) -> bool:
    return module.partition(".")[0] == package


@pytest.fixture
def install(apps_directory: Path, overrides: list[override_settings]) -> InstallApp:
    """Install apps whose modules have these texts: `install("shop", agents="…")`."""

    def install(name: str = "shop", **modules: str) -> None:
        package = apps_directory / name
        package.mkdir()
        for module, text in {"__init__": "", **modules}.items():
            (package / f"{module}.py").write_text(dedent(text))
        change = modify_settings(INSTALLED_APPS={"append": [name]})
        change.enable()  # no change remains if an error stops the start
        overrides.append(change)

    return install


async def caller(request: HttpRequest) -> Principal:
    """Authenticate by a header: the key of a user, or `anonymous`.

    Another header names the only scope; without it, the caller has all.
    """
    user = request.headers.get("X-User", "")
    scopes = frozenset({request.headers.get("X-Scope", "admin")})
    if user == "anonymous":
        return Principal("default", owner=f"{ANONYMOUS}1")
    credential = f"user:{user}" if user else ""
    return Principal("default", user, user, scopes, credential)


@pytest.fixture
def callers(agent_settings: ChangeSettings) -> None:
    """The API authenticates by the header X-User."""
    agent_settings(authentication=f"{__name__}.caller")
