"""A tool: what the model is told of it, and how it is called.

`@tool` makes one from a typed function; a `Toolbox` holds those that an agent has.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec
from docstring_parser import DocstringStyle, parse
from pydantic_core import to_json

from streaming.messages import ToolSpec
from streaming.tools.parameters import Parameters
from streaming.tools.threads import Threads, TooManyThreads

P = ParamSpec("P")
R = TypeVar("R")

#: What both vendors take for a tool's name.
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolContext(msgspec.Struct, frozen=True):
    """For whom a tool is called. `values` is the request's `context`."""

    org_id: str = "default"
    conversation_id: str = ""
    run_id: str = ""
    values: Mapping[str, str] = {}


class ToolError(Exception):
    """A tool's own, expected failure: its message goes to the model as it stands."""


@dataclass(frozen=True, eq=False)
class Tool(Generic[P, R]):
    """A function that the model can call. In Python it is called as the function."""

    function: Callable[P, R]
    spec: ToolSpec
    parameters: Parameters
    #: In seconds; None: the agent's.
    timeout: float | None = None
    threads: Threads = field(default_factory=Threads)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self.spec.name

    @property
    def origin(self) -> str:
        """Where its function is from."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; another one runs in a thread."""
        return inspect.iscoroutinefunction(self.function)

    async def call(self, arguments: str, context: ToolContext) -> str:
        """Call it as a model does: with a JSON object as text, answered with text.

        Raises `ToolError`, and whatever the function raises.
        """
        try:
            kwargs = self.parameters.parse(arguments)
        except ValueError as error:
            raise ToolError(str(error)) from None
        if self.parameters.given_name:
            kwargs[self.parameters.given_name] = context
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
    """Make a tool from a function, sync (it runs in a thread) or async.

    The model is told its name, its docstring and its parameters; the docstring's Args
    section describes them. A parameter of the type `ToolContext` is not told: it gets
    the context of the call. The result goes to the model as text, or as JSON when it
    is no string. `timeout` is in seconds, when the agent's does not suit.
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
        raise TypeError(f"{function.__qualname__} needs a docstring to tell the model.")
    parameters = Parameters(function, docstring, given=ToolContext)
    spec = ToolSpec(name, description, parameters.schema)
    return Tool(function, spec, parameters, timeout)
