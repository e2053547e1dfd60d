"""The agents of the installed apps, found at start, and that of the settings.

The agent of the settings has the name `AGENT_NAME`, the instructions
`AGENT_SYSTEM_PROMPT`, and the tools in the `agent_tools.py` of each app. It is the
default agent of a project without declared agents, and of one with several that names
no other (`DEFAULT_AGENT`). It is offered only while it is the default.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeVar, cast

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from streaming import conf
from streaming.agent.output import check_names
from streaming.agents.declaration import Agent
from streaming.app_options import AgentConf
from streaming.tools.base import NAME, Tool
from streaming.tools.parameters import InvalidTool
from streaming.tools.permissions import ANYONE, AUTHENTICATED, Permission
from streaming.tools.toolbox import Toolbox

#: The modules of an app with its agents, and with the tools of the settings' agent.
AGENTS_MODULE, TOOLS_MODULE = "agents", "agent_tools"
#: The authenticator of callers without credentials.
ANONYMOUS_CALLERS = "streaming.auth.anonymous"
#: The name of the settings' agent in the rows of its runs.
OF_SETTINGS = ""
#: The directory of this package.
PACKAGE = str(Path(__file__).parents[1])

T = TypeVar("T")


class UnknownAgent(LookupError):
    """A name that no agent has."""


class Registry:
    """The declared agents by their names, and the agent of the settings."""

    def __init__(
        self, declared: Iterable[Agent] = (), tools: Iterable[Tool[..., Any]] = ()
    ) -> None:
        self.declared: Mapping[str, Agent] = {agent.name: agent for agent in declared}
        self._tools = tuple(tools)
        self._options: AgentConf | None = None
        self._of_settings: Agent | None = None

    @property
    def of_settings(self) -> Agent:
        """The agent of the settings, which tests may change."""
        options = conf.get()
        if self._of_settings is None or options is not self._options:
            self._options = options
            self._of_settings = Agent(
                options.agent_name,
                instructions=options.agent_system_prompt,
                description=options.agent_description,
                tools=self._tools,
                permission=self._permission(options),
            )
        return self._of_settings

    def _permission(self, options: AgentConf) -> Permission:
        """Return the permission of the settings' agent.

        An operator that accepts anonymous callers offers it to them, unless an app
        declares an agent that may be meant for them.
        """
        is_open = ANONYMOUS_CALLERS in options.authenticators and not self.declared
        return ANYONE if is_open else AUTHENTICATED

    @property
    def default(self) -> Agent:
        """The agent of requests that name none."""
        options = conf.get()
        if agent := self.declared.get(options.default_agent):
            return agent
        if not options.default_agent and len(self.declared) == 1:
            [agent] = self.declared.values()
            return agent
        return self.of_settings

    @property
    def offered(self) -> Mapping[str, Agent]:
        """The agents that requests may name, the default first."""
        default = self.default
        return {default.name: default, **self.declared}

    @property
    def admits_anyone(self) -> bool:
        """Whether callers without credentials may use an agent."""
        return any(agent.permission == ANYONE for agent in self.declared.values())

    @property
    def models(self) -> list[str]:
        """The models of the declared agents, with those of their fallbacks."""
        agents = self.declared.values()
        return [model for each in agents for model in (each.model, *each.fallbacks)]

    def select(self, name: str | None) -> Agent:
        """Return the agent that a request names. Raises `UnknownAgent`."""
        if name is None:
            return self.default
        try:
            return self.offered[name]
        except KeyError:
            raise UnknownAgent(name) from None

    def key(self, agent: Agent) -> str:
        """Return the name of an agent in the rows of its runs."""
        return OF_SETTINGS if agent is self.of_settings else agent.name

    def by_key(self, key: str) -> Agent:
        """Return the agent of a run. Raises `UnknownAgent`."""
        offered = {self.key(agent): agent for agent in self.offered.values()}
        try:
            return offered[key]
        except KeyError:
            raise UnknownAgent(key) from None


def get() -> Registry:
    """Return the agents of the installed apps."""
    return cast(Registry, vars(apps.get_app_config("streaming"))["agents"])


def admits_anyone() -> bool:
    """Return whether callers without credentials may use an agent of this process."""
    return get().admits_anyone


def display_name(key: str) -> str:
    """Return the name of a run's agent for clients, also of one that is gone."""
    return key or conf.get().agent_name


def discover() -> Registry:
    """Import the modules of all apps, and return their agents and tools.

    They are in the order of the apps and of their modules; one object in several
    modules is found once. Raises `ImproperlyConfigured`.
    """
    declared: dict[int, Agent] = {}
    modules: dict[str, str] = {}
    for module, agent in _found(AGENTS_MODULE, Agent):
        if id(agent) in declared:
            continue
        if not NAME.fullmatch(agent.name):
            raise agent.error("its name must be letters, digits, _ and -, at most 64")
        if agent.name in modules:
            raise agent.error(f"{modules[agent.name]} and {module} both declare it")
        declared[id(agent)] = agent
        modules[agent.name] = module
    tools = {id(tool): tool for _, tool in _found(TOOLS_MODULE, Tool)}
    registry = Registry(declared.values(), tools.values())
    _check(registry)
    return registry


def _found(name: str, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Yield the objects of a kind in the module of that name of each app."""
    for app in apps.get_app_configs():
        module = f"{app.name}.{name}"
        if hasattr(app.module, "__path__") and find_spec(module):
            try:
                found = vars(import_module(module))
            except (InvalidTool, ImproperlyConfigured) as error:
                failure = ImproperlyConfigured(f"{module}: {error}")
                # Django's reloader watches this file; a failed import unloads it.
                failure.filename = _faulty_file(error)  # type: ignore[attr-defined]
                raise failure from None
            yield from (
                (module, each) for each in found.values() if isinstance(each, kind)
            )


def _faulty_file(error: Exception) -> str:
    """Return the file outside the app whose line raised an error."""
    files = [frame.filename for frame in extract_tb(error.__traceback__)]
    outside = [name for name in files if not name.startswith((PACKAGE, "<"))]
    return outside[-1]


def _check(registry: Registry) -> None:
    """Check the agents with their tools, models and names against the settings."""
    for agent in (*registry.declared.values(), registry.of_settings):
        try:
            check_names(Toolbox(agent.tools).specs, agent.output)
            conf.provider(agent.model)
            for model in agent.fallbacks:
                conf.provider(model, "fallbacks")
        except (ImproperlyConfigured, ValueError) as error:
            raise agent.error(str(error)) from None
        agent.seal()
    default = conf.get().default_agent
    if default and default != registry.default.name:
        names = ", ".join(map(repr, [*registry.declared, registry.of_settings.name]))
        raise ImproperlyConfigured(
            f"DEFAULT_AGENT={default!r}: expected one of {names}."
        )
    of_settings = registry.of_settings
    same = registry.declared.get(of_settings.name)
    if same and registry.default is of_settings:
        raise same.error(
            "the default agent has this name too: change AGENT_NAME, or name another "
            "default in DEFAULT_AGENT"
        )
