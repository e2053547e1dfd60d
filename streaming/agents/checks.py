"""Checks of the declared agents for `manage.py check`."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from django.apps import AppConfig, apps
from django.contrib.auth import get_permission_codename
from django.core.checks import CheckMessage, Warning, register

from streaming import conf
from streaming.agents import registry
from streaming.checks import TAG
from streaming.tools.permissions import ANYONE, AUTHENTICATED, Permission


def register_checks() -> None:
    """Register the checks with Django."""
    register(check_agents, TAG)


def check_agents(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Check the permissions of the agents and their tools, and the default agent."""
    return [*_permissions(), *_default()]


def _permissions() -> Iterator[CheckMessage]:
    known = set(_codenames())
    for name, permission in _required():
        if not isinstance(permission, str) or permission in known:
            continue
        near = get_close_matches(permission, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        yield Warning(
            f"{name} requires the permission {permission!r}, which no model declares: "
            "superusers have it, and no other user.",
            hint=f"{hint}Add it to the `permissions` of a model's Meta, or silence "
            "this if an authentication backend grants it.",
            id="streaming.W030",
        )


def _required() -> Iterator[tuple[str, Permission]]:
    """Yield the permissions that agents and tools require, with their names."""
    agents = registry.get()
    for agent in (*agents.declared.values(), agents.of_settings):
        yield f"The agent {agent.name!r}", agent.permission
        for tool in agent.tools:
            if tool.permission is not None:
                yield f"The tool {tool.name!r} of {agent.name!r}", tool.permission


def _codenames() -> Iterator[str]:
    """Yield the permissions of the installed models, and the two special ones."""
    yield from (ANYONE, AUTHENTICATED)
    for model in apps.get_models():
        options = model._meta
        names = [
            *(get_permission_codename(a, options) for a in options.default_permissions),
            *(name for name, _ in options.permissions),
        ]
        yield from (f"{options.app_label}.{name}" for name in names)


def _default() -> Iterator[CheckMessage]:
    agents = registry.get()
    if len(agents.declared) < 2 or conf.get().default_agent:
        return
    names = ", ".join(map(repr, agents.declared))
    yield Warning(
        f"The apps declare the agents {names}, and DEFAULT_AGENT names none of them: "
        f"requests without `agent` go to {agents.of_settings.name!r}, the agent of the "
        "settings.",
        hint=f"Set DEFAULT_AGENT to one of them, or to {agents.of_settings.name!r}.",
        id="streaming.W031",
    )
