"""A tool: its description for the model, and its call.

`@tool` makes a tool of a typed function; a `Toolbox` holds the tools of an agent.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import (
    Any,
    Generic,
    NamedTuple,
    Never,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

import msgspec
from docstring_parser import DocstringStyle, parse
from pydantic_core import to_json

from streaming.messages import ToolSpec
from streaming.principals import Principal
from streaming.tools.parameters import InvalidTool, Parameters
from streaming.tools.permissions import EXPECTED, Permission, is_permission
from streaming.tools.threads import Threads, TooManyThreads

P = ParamSpec("P")
R = TypeVar("R")

#: The tool names that both vendors accept.
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class RunUser(Protocol):
    """The user of a run, loaded from the database at the first use."""

    def get(self) -> Any:  # noqa: ANN401  (of the project's own class)
        """Return the user, or None; on an event loop, only after `load`."""
        ...

    async def load(self) -> None:
        """Load the user, unless that has been done."""
        ...


class _NoUser:
    """The user of a run without one."""

    def get(self) -> None:
        """Return None."""

    async def load(self) -> None:
        """Load nothing."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The run that calls a function of an app: a tool, or instructions."""

    principal: Principal = Principal("default")
    #: The ids of the conversation and of the run.
    conversation: str = ""
    run: str = ""
    #: The values of `Agent(deps=…)`, or those that were stored with the run.
    deps: Any = None
    #: The request's `context`: claims of the client, which nothing has verified.
    client_context: Mapping[str, str] = {}
    run_user: RunUser = _NoUser()

    @property
    def organization(self) -> str:
        """The id of the organization."""
        return self.principal.org_id

    @property
    def user(self) -> Any:  # noqa: ANN401  (of the project's own class)
        """The active user of the run; None for a run without one.

        It is loaded at the first use, and kept for the run.
        """
        return self.run_user.get()

    async def load_user(self) -> None:
        """Load the user, so that async functions may use it."""
        await self.run_user.load()


class ToolError(Exception):
    """An expected failure of a tool: the model receives its message unchanged."""


@dataclass(frozen=True, eq=False)
class Tool(Generic[P, R]):
    """A function that the model can call. In Python it is called like the function."""

    function: Callable[P, R]
    spec: ToolSpec
    parameters: Parameters
    #: In seconds; None for the agent's default.
    timeout: float | None = None
    #: For pages and other clients; empty: its name.
    title: str = ""
    #: None: no other than that of the agent.
    permission: Permission | None = None
    #: Whether a call of unknown outcome may be repeated.
    repeatable: bool = False
    threads: Threads = field(default_factory=Threads)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        """The name by which the model calls it."""
        return self.spec.name

    @property
    def origin(self) -> str:
        """The full name of its function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def is_async(self) -> bool:
        """True if it runs on the event loop; other tools run in a thread."""
        return inspect.iscoroutinefunction(self.function)

    async def call(self, arguments: str, context: Context) -> str:
        """Call the tool with a JSON object as text; return its result as text.

        Raises `ToolError` and the exceptions of the function.
        """
        try:
            kwargs = self.parameters.parse(arguments)
        except ValueError as error:
            raise ToolError(str(error)) from None
        if self.parameters.context_name:
            kwargs[self.parameters.context_name] = context
            if self.is_async:
                await context.load_user()
        result = await self._result(kwargs)
        return result if isinstance(result, str) else to_json(result).decode()

    async def _result(self, kwargs: dict[str, Any]) -> object:
        function: Callable[[], Any] = partial(self.function, **kwargs)
        if self.is_async:
            return await function()
        try:
            return await self.threads.run(function)
        except TooManyThreads:
            raise ToolError("The tool is busy; try again later.") from None


class RunningCall(NamedTuple):
    """A call of a tool, and the run that made it."""

    name: str
    run_id: str


def find_call(frame: FrameType | None) -> RunningCall | None:
    """Return the call of a tool in which a thread is, by the frames of its stack."""
    while frame:
        if frame.f_code is Tool.call.__code__:
            variables = frame.f_locals
            return RunningCall(variables["self"].name, variables["context"].run)
        frame = frame.f_back
    return None


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str = "",
    title: str = "",
    permission: Permission | None = None,
    timeout: float | None = None,
    repeatable: bool = False,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a tool of a function, async or sync (which runs in a thread).

    The model receives its name, its docstring and its parameters, which the docstring's
    Args section describes. A parameter of the type `Context` is hidden from the model
    and receives the context of the call. The model receives the result as text, or as
    JSON if it is not a string. `title` is for pages. `permission` hides the tool from
    the model in runs of callers without it. `timeout` is in seconds and replaces the
    agent's. `repeatable` declares that a call may be repeated if the process that
    executed it died, because a second one does no harm.
    """
    if function is None:
        return partial(make_tool, **options)
    return make_tool(function, **options)


def make_tool(
    function: Callable[P, R],
    *,
    name: str = "",
    title: str = "",
    permission: Permission | None = None,
    timeout: float | None = None,
    repeatable: bool = False,
    **unknown: Never,
) -> Tool[P, R]:
    """Return the tool of a function. Raises `InvalidTool`."""
    name = name or function.__name__
    if not NAME.fullmatch(name):
        raise InvalidTool(f"{name!r} is no tool's name: use letters, digits, _ and -.")
    if unknown:
        raise InvalidTool(f"{name}: unknown option {next(iter(unknown))!r}.")
    if permission is not None and not is_permission(permission):
        raise InvalidTool(f"{name}: permission={permission!r}: expected {EXPECTED}.")
    if not isinstance(title, str):
        raise InvalidTool(f"{name}: title={title!r}: expected text.")
    if timeout is not None and not (type(timeout) in (int, float) and timeout > 0):
        raise InvalidTool(f"{name}: timeout={timeout!r}: expected a positive number.")
    if not isinstance(repeatable, bool):
        raise InvalidTool(f"{name}: repeatable={repeatable!r}: expected True or False.")
    docstring = parse(function.__doc__ or "", DocstringStyle.GOOGLE)
    description = (docstring.description or "").strip()
    if not description:
        raise InvalidTool(
            f"{function.__qualname__} needs a docstring to describe it to the model."
        )
    parameters = Parameters(function, docstring, context_type=Context)
    spec = ToolSpec(name, description, parameters.schema)
    return Tool(function, spec, parameters, timeout, title, permission, repeatable)
