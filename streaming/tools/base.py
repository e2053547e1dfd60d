"""A tool: its description for the model, and its call.

`@tool` makes a tool of a typed function; a `Toolbox` holds the tools of an agent.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

import msgspec
from docstring_parser import DocstringStyle, parse
from pydantic_core import to_json

from streaming.messages import ToolSpec
from streaming.tools.parameters import Parameters
from streaming.tools.threads import Threads, TooManyThreads

P = ParamSpec("P")
R = TypeVar("R")

#: The tool names that both vendors accept.
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolContext(msgspec.Struct, frozen=True):
    """The run that calls a tool. `values` is the request's `context`."""

    org_id: str = "default"
    conversation_id: str = ""
    run_id: str = ""
    values: Mapping[str, str] = {}


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

    async def call(self, arguments: str, context: ToolContext) -> str:
        """Call the tool with a JSON object as text; return its result as text.

        Raises `ToolError` and the exceptions of the function.
        """
        try:
            kwargs = self.parameters.parse(arguments)
        except ValueError as error:
            raise ToolError(str(error)) from None
        if self.parameters.context_name:
            kwargs[self.parameters.context_name] = context
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
            return RunningCall(variables["self"].name, variables["context"].run_id)
        frame = frame.f_back
    return None


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *, name: str = "", timeout: float | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    timeout: float | None = None,
) -> Any:
    """Make a tool of a function, async or sync (which runs in a thread).

    The model receives its name, its docstring and its parameters, which the docstring's
    Args section describes. A parameter of the type `ToolContext` is hidden from the
    model and receives the context of the call. The model receives the result as text,
    or as JSON if it is not a string. `timeout` is in seconds and replaces the agent's.
    """
    if function is None:
        return partial(_make, name=name, timeout=timeout)
    return _make(function, name=name, timeout=timeout)


def _make(function: Callable[P, R], *, name: str, timeout: float | None) -> Tool[P, R]:
    name = name or function.__name__
    if not NAME.fullmatch(name):
        raise TypeError(f"{name!r} is no tool's name: use letters, digits, _ and -.")
    docstring = parse(function.__doc__ or "", DocstringStyle.GOOGLE)
    description = (docstring.description or "").strip()
    if not description:
        raise TypeError(
            f"{function.__qualname__} needs a docstring to describe it to the model."
        )
    parameters = Parameters(function, docstring, context_type=ToolContext)
    spec = ToolSpec(name, description, parameters.schema)
    return Tool(function, spec, parameters, timeout)
