"""The app's configuration: at start it collects the tools of every installed app."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.core.signals import setting_changed
from django.db import connections

from streaming import conf
from streaming.checks import register_checks
from streaming.tools.base import Tool
from streaming.tools.toolbox import Toolbox

#: The name of an app's module with its tools.
TOOLS_MODULE = "agent_tools"


class StreamingConfig(AppConfig):
    """The agent's app."""

    name = "streaming"
    verbose_name = "Agent"
    default_auto_field = "django.db.models.BigAutoField"
    toolbox: Toolbox

    def ready(self) -> None:
        """Validate the settings and collect the tools; an error stops the start."""
        conf.get()
        setting_changed.connect(conf.forget_settings)
        register_checks()
        self.toolbox = discover_tools()


def discover_tools() -> Toolbox:
    """Return the tools of all apps, in the order of the apps and of their modules.

    Two tools with one name are an error; one tool in several modules is not.
    """
    found = {id(tool): tool for tool in _tools()}
    return Toolbox(map(closing_connections, found.values()))


def _tools() -> Iterator[Tool[..., Any]]:
    for app in apps.get_app_configs():
        name = f"{app.name}.{TOOLS_MODULE}"
        if hasattr(app.module, "__path__") and find_spec(name):
            yield from (
                each
                for each in vars(import_module(name)).values()
                if isinstance(each, Tool)
            )


def closing_connections(tool: Tool[..., Any]) -> Tool[..., Any]:
    """Return a tool that closes its thread's database connections after each call.

    Each call of a synchronous tool has a new thread with connections of its own.
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
