"""The app: at start it gathers the tools of every installed app."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.core.signals import setting_changed
from django.db import connections
from django.utils.module_loading import module_has_submodule

from streaming import conf
from streaming.checks import register_checks
from streaming.tools.base import Tool
from streaming.tools.toolbox import Toolbox

#: The module of an app in which its tools are.
TOOLS_MODULE = "agent_tools"


class StreamingConfig(AppConfig):
    """The agent's app."""

    name = "streaming"
    verbose_name = "Agent"
    default_auto_field = "django.db.models.BigAutoField"
    toolbox: Toolbox

    def ready(self) -> None:
        """Validate the settings and gather the tools; an error stops the start."""
        conf.get()
        setting_changed.connect(conf.forget_settings)
        register_checks()
        self.toolbox = discover_tools()


def discover_tools() -> Toolbox:
    """The tools of all installed apps, in the order of the apps and of their modules.

    Two tools of one name are an error; one tool that several modules import is not.
    """
    found = {id(tool): tool for tool in _tools()}
    return Toolbox(map(closing_connections, found.values()))


def _tools() -> Iterator[Tool[..., Any]]:
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, TOOLS_MODULE):
            module = import_module(f"{app.name}.{TOOLS_MODULE}")
            yield from (
                tool for tool in vars(module).values() if isinstance(tool, Tool)
            )


def closing_connections(tool: Tool[..., Any]) -> Tool[..., Any]:
    """The tool, its thread's database connections closed after each call.

    Each call of a sync tool has a new thread, and with it connections of its own.
    """
    if tool.is_async:
        return tool
    function: Callable[..., Any] = tool.function

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return replace(tool, function=call)
