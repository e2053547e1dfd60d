"""The declaration of an agent, as apps write it in their `agents.py`."""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Never, ParamSpec, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured

from streaming.agent.output import OutputType
from streaming.agents.functions import ContextFunction, closing_connections
from streaming.tools.base import Tool, make_tool
from streaming.tools.parameters import InvalidTool
from streaming.tools.permissions import (
    AUTHENTICATED,
    EXPECTED,
    Permission,
    is_permission,
)

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

#: The limits that a declaration may set; each applies to one user.
LIMITS = (
    "runs_per_minute",
    "concurrent_runs",
    "tokens_per_day",
    "tokens_per_month",
    "cost_per_day",
    "cost_per_month",
)
MAX_ITERATIONS = 50
#: The effects of a start in a conversation that has an active run.
ON_BUSY = ("reject", "queue", "interrupt", "steer")
#: The queue of agents that name none.
DEFAULT_QUEUE = "default"
#: A queue's name is a part of the name of a channel of PostgreSQL, of 63 characters.
QUEUE = re.compile(r"[A-Za-z0-9_-]{1,30}")
#: The lowest and the highest priority, as of a small integer in a database.
PRIORITIES = (-32_768, 32_767)


class Agent:
    """A model with its instructions and its tools, and the callers that may use it.

        support = Agent("support", instructions="You help customers with orders.")

        @support.tool
        def order_status(number: int, context: Context) -> str:
            \"\"\"Tell where an order is.\"\"\"

    - `instructions`: text for the model; functions may add to it (`instructions`).
    - `model`: `provider:model`, or the provider alone; empty: that of the setting.
    - `tools`: free functions with `@tool`, beside those of `Agent.tool`.
    - `permission`: `"authenticated"`, `"anyone"`, a codename of Django, or a function
      of the principal, sync or async.
    - `limits`: numbers by the names in `LIMITS`, for each user.
    - `fallbacks`: models that answer if the first one is overloaded or unreachable.
    - `output_type`: the type of a structured output.
    - `deps`: a function, called for each attempt of a run, whose result the tools find
      in their context.
    - `title`, `description`, `opening_questions`: for pages and other clients.
    - `max_iterations`: model calls of a run whose request does not set the number.
    - `queue`: the queue of its runs, which worker processes select.
    - `priority`: queued runs of a higher one are executed first.
    - `on_busy`: one of `ON_BUSY`: the effect of a request in a conversation that has an
      active run.

    Raises `ImproperlyConfigured` for a value that is not accepted.
    """

    def __init__(
        self,
        name: str,
        *,
        instructions: str = "",
        model: str = "",
        tools: Collection[Tool[..., Any]] = (),
        permission: Permission = AUTHENTICATED,
        limits: Mapping[str, float] | None = None,
        fallbacks: Sequence[str] = (),
        output_type: Any = None,  # noqa: ANN401  (a type, or a form that stands for one)
        deps: Callable[..., Any] | None = None,
        title: str = "",
        description: str = "",
        opening_questions: Sequence[str] = (),
        max_iterations: int = 5,
        queue: str = DEFAULT_QUEUE,
        priority: int = 0,
        on_busy: str = "reject",
        **unknown: Never,
    ) -> None:
        self.name = name
        self.title = title
        self.description = description
        self.opening_questions = _to_tuple(opening_questions)
        self.model = model
        self.fallbacks = _to_tuple(fallbacks)
        self.system_prompt = instructions
        self.permission = permission
        self.limits: Mapping[str, float] = {} if limits is None else limits
        self.max_iterations = max_iterations
        self.queue = queue
        self.priority = priority
        self.on_busy = on_busy
        self._tools = _to_tuple(tools)
        self._instructions: tuple[ContextFunction, ...] = ()
        self._sealed = False
        for problem in (*_unknown(unknown), *self._problems()):
            raise self.error(problem)
        self.limits = MappingProxyType(dict(self.limits))
        self.deps = None if deps is None else self._context_function("deps", deps)
        self.output = None if output_type is None else self._output_type(output_type)

    def __repr__(self) -> str:
        return f"<Agent {self.name!r}>"

    @property
    def tools(self) -> tuple[Tool[..., Any], ...]:
        """The tools in the order of their declaration."""
        return self._tools

    @property
    def instruction_functions(self) -> tuple[ContextFunction, ...]:
        """The functions that add to the instructions of each run, in order."""
        return self._instructions

    @overload
    def tool(self, function: Callable[P, R], /) -> Tool[P, R]: ...

    @overload
    def tool(
        self,
        /,
        *,
        name: str = "",
        title: str = "",
        permission: Permission | None = None,
        timeout: float | None = None,
        repeatable: bool = False,
    ) -> Callable[[Callable[P, R]], Tool[P, R]]: ...

    def tool(
        self, function: Callable[..., Any] | None = None, /, **options: Any
    ) -> Any:
        """Make a tool of a function for this agent, like `streaming.tools.tool`."""

        def add(function: Callable[..., Any]) -> Tool[..., Any]:
            self._check_open()
            try:
                made = make_tool(function, **options)
            except InvalidTool as error:
                raise self.error(str(error)) from None
            self._tools += (made,)
            return made

        return add if function is None else add(function)

    def instructions(self, function: F) -> F:
        """Add the result of a function to the instructions of each run.

        The function takes the run's context, or nothing, and returns text.
        """
        self._check_open()
        self._instructions += (self._context_function("instructions", function),)
        return function

    def seal(self) -> None:
        """Refuse further tools and instructions, which the process would ignore."""
        self._sealed = True

    def error(self, problem: str) -> ImproperlyConfigured:
        """Return the error of a declaration with a problem."""
        return ImproperlyConfigured(f"Agent {self.name!r}: {problem.rstrip('.')}.")

    def _check_open(self) -> None:
        if self._sealed:
            raise self.error(
                "it was declared at start, and takes no more tools and instructions: "
                "declare them in a module that agents.py imports"
            )

    def _context_function(
        self, option: str, function: Callable[..., Any]
    ) -> ContextFunction:
        try:
            return ContextFunction(function)
        except TypeError as error:
            raise self.error(f"{option}={function!r}: {error}") from None

    def _output_type(self, kind: Any) -> OutputType[Any]:  # noqa: ANN401
        try:
            return OutputType(kind, wrap=closing_connections)
        except TypeError as error:
            raise self.error(f"output_type={kind!r}: {error}") from None

    def _problems(self) -> Iterator[str]:
        texts = {
            "name": self.name,
            "instructions": self.system_prompt,
            "model": self.model,
            "title": self.title,
            "description": self.description,
        }
        for option, value in texts.items():
            if not isinstance(value, str):
                yield f"{option}={value!r}: expected text"
        for option, values in (
            ("fallbacks", self.fallbacks),
            ("opening_questions", self.opening_questions),
        ):
            if not _is_list(values, str) or "" in values:
                yield f"{option}={values!r}: expected a list of texts"
        if not _is_list(self._tools, Tool):
            yield f"tools={self._tools!r}: expected a list of functions with @tool"
        if not is_permission(self.permission):
            yield f"permission={self.permission!r}: expected {EXPECTED}"
        steps = self.max_iterations
        if type(steps) is not int or not 1 <= steps <= MAX_ITERATIONS:
            yield f"max_iterations={steps!r}: expected 1 to {MAX_ITERATIONS}"
        if type(self.queue) is not str or not QUEUE.fullmatch(self.queue):
            yield f"queue={self.queue!r}: expected letters, digits, _ and -, at most 30"
        lowest, highest = PRIORITIES
        if type(self.priority) is not int or not lowest <= self.priority <= highest:
            yield f"priority={self.priority!r}: expected {lowest} to {highest}"
        if self.on_busy not in ON_BUSY:
            yield f"on_busy={self.on_busy!r}: expected one of {', '.join(ON_BUSY)}"
        yield from _limit_problems(self.limits)


def _to_tuple(values: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the items of a list; a value of another kind is returned, to be refused.

    A text is an iterable too, of its characters.
    """
    return tuple(values) if isinstance(values, list | tuple | set) else values


def _is_list(values: object, kind: type) -> bool:
    if not isinstance(values, tuple):
        return False
    return all(isinstance(value, kind) for value in values)


def _limit_problems(limits: object) -> Iterator[str]:
    if not isinstance(limits, Mapping):
        yield f"limits={limits!r}: expected a dictionary"
        return
    for limit, value in limits.items():
        if limit not in LIMITS:
            yield f"limits: {limit!r} is none of {', '.join(LIMITS)}"
            continue
        is_number = type(value) in (int, float, Decimal) and math.isfinite(value)
        if not is_number or value <= 0:
            yield f"limits: {limit}={value!r}: expected a positive number"


def _unknown(options: Mapping[str, object]) -> Iterator[str]:
    known = [name for name in Agent.__init__.__annotations__ if name != "return"]
    for name in options:
        nearest = get_close_matches(name, known, n=1)
        hint = f": did you mean {nearest[0]!r}?" if nearest else ""
        yield f"unknown option {name!r}{hint}"
