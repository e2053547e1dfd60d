"""Structured output: the type of an answer, and the validation of the answers of a run.

The model writes JSON, because the server enforces a schema or the model calls a tool
with it. It is validated here in every case: servers ignore schemas, and models write
text around JSON.
"""

import asyncio
import inspect
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from msgspec import UNSET
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import to_json

from streaming.agent.progress import Progress
from streaming.agent.response import ResponseBuilder
from streaming.exceptions import InvalidOutput
from streaming.messages import Message, ToolSpec, user_message
from streaming.tools.parameters import MAX_ERRORS, UntitledSchema
from streaming.tools.threads import Threads, TooManyThreads
from streaming.tools.toolbox import UNSTORABLE

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The name of the schema, and of the tool that stands for it.
NAME = "final_output"
DESCRIPTION = (
    "Give the final answer. Call this once, as the last step, with the whole answer as "
    "the arguments; do not write it as text."
)
#: The key of a value whose type is no object: schemas and tools require one.
WRAPPER = "value"

#: A longer answer is invalid. pydantic holds the interpreter's lock while it validates,
#: and so all runs of the process: 5 ms for this length, or 200 ms for the worst text.
MAX_CHARS = 100_000
#: The places in a text at which an answer may begin.
MAX_CANDIDATES = 8
#: More problems are counted and not described.
MAX_DESCRIBED = 1_000

_FENCED = re.compile(r"\A```\w*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
#: Brackets and strings. The quantifier is possessive, and a string may end with the
#: text: a search takes linear time, also with a million quotes.
_TOKEN = re.compile(r'[{}\[\]]|"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)

CORRECTION = (
    "Your answer does not have the required form. {problem}\n"
    "Answer again with one JSON object that matches this JSON Schema:\n{schema}"
)
CUT_OFF = (
    "The answer was cut off by the token limit before it had the required form: raise "
    "LLM_MAX_TOKENS."
)


def check_names(tools: Sequence[ToolSpec], output: "OutputType[Any] | None") -> None:
    """Raise `ValueError` for a tool with the name that gives the output."""
    if output and any(tool.name == NAME for tool in tools):
        raise ValueError(f"{NAME!r} is the name of the output, not a tool.")


class OutputType(Generic[T]):
    """A type that an answer must have: any type that pydantic validates.

    A type that is no object, such as a list or a Literal, is the `value` of an object.
    Raises `TypeError` for a type that cannot be described to the model.
    """

    def __init__(
        self,
        kind: type[T] | Any,  # noqa: ANN401  (a Literal is no type)
        *,
        wrap: Callable[[Callable[[str], bytes]], Callable[[str], bytes]] | None = None,
    ) -> None:
        self.kind = kind
        #: `encode`, for a thread: `wrap` makes it leave nothing behind there.
        self.encode_in_thread = wrap(self.encode) if wrap else self.encode
        if inspect.isroutine(kind):  # pydantic would call it with the model's values
            raise TypeError(
                f"{kind!r} cannot be described to the model: it is a function."
            )
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(kind)
            schema = self._adapter.json_schema(schema_generator=UntitledSchema)
        except (PydanticUserError, PydanticSchemaGenerationError) as error:
            problem = error.message.partition("\n")[0].partition(". ")[0]
            raise TypeError(
                f"{kind!r} cannot be described to the model: {problem}."
            ) from None
        schema = _resolved(schema)
        self._is_wrapped = schema.get("type") != "object"
        #: The JSON Schema of an object.
        self.schema: dict[str, Any] = _wrapped(schema) if self._is_wrapped else schema
        self.spec = ToolSpec(NAME, DESCRIPTION, self.schema)

    def validate(self, text: str) -> T:
        """Return the value in the text of an answer. Raises `InvalidOutput`.

        Text around the JSON is ignored. A key that occurs twice has its last value.
        """
        if len(text) > MAX_CHARS:
            raise InvalidOutput(f"The answer is longer than {MAX_CHARS:,} characters.")
        misfit: ValidationError | None = None
        problem = "The answer is empty."
        for candidate in _candidates(text):
            try:
                return self._parse(candidate)
            except ValidationError as error:
                misfit = misfit or error
            except ValueError as error:
                problem = f"The answer is no JSON: {error}."
        raise InvalidOutput(_sentence(misfit) if misfit else problem)

    def encode(self, text: str) -> bytes:
        """Return the value in the text of an answer as JSON. Raises `InvalidOutput`."""
        encoded = self._adapter.dump_json(self.validate(text))
        try:
            _load(encoded)  # a type may have pydantic write NaN, which is no JSON
        except ValueError as error:
            raise InvalidOutput(f"The answer is no JSON: {error}.") from None
        return encoded

    def _parse(self, text: str) -> T:
        """Return the value of a JSON text. Raises `ValueError`."""
        data = text.encode(errors="replace")
        value = _load(data)
        if self._is_wrapped and isinstance(value, dict) and set(value) == {WRAPPER}:
            data = to_json(value[WRAPPER])
        return self._adapter.validate_json(data)


class OutputCheck:
    """The validation of one run's answers; an invalid one is requested once more."""

    def __init__(self, output: OutputType[Any] | None, progress: Progress) -> None:
        self.spec = output.spec if output else UNSET
        self.name = NAME if output else ""
        #: The message that requests the other answer, if one is needed.
        self.correction: Sequence[Message] = ()
        self._output = output
        self._progress = progress

    async def accepts(self, response: ResponseBuilder, timeout: float) -> bool:
        """Validate the answer; return False if the model must give another one.

        A refusal of the model has no form. Raises `InvalidOutput`.
        """
        if self._output is None or response.stop_reason == "refusal":
            return True
        text = response.message.text
        try:
            encode = partial(self._output.encode_in_thread, text)
            self._progress.structured_output = await _call(encode, timeout)
        except InvalidOutput as error:
            if response.stop_reason == "max_tokens":
                raise InvalidOutput(CUT_OFF, retryable=False) from None
            if self.correction:
                raise
            logger.warning("answer rejected: %s", error.message)
            self._progress.rejected = self._progress.messages[-1] if text else None
            self.correction = [self._correction(error.message)]
            return False
        return True

    def _correction(self, problem: str) -> Message:
        assert self.spec
        schema = to_json(self.spec.parameters).decode()
        return user_message(CORRECTION.format(problem=problem, schema=schema))


_threads = Threads()


async def _call(function: Callable[[], T], timeout: float) -> T:
    """Call a function with validators of an app in a thread: they may block."""
    try:
        async with asyncio.timeout(timeout):
            return await _threads.run(function)
    except (InvalidOutput, asyncio.CancelledError):
        raise
    except (TimeoutError, TooManyThreads):
        logger.warning("answer not validated in %g s", timeout)
        raise InvalidOutput("The answer was not validated in time.") from None
    except BaseException as error:
        # Not only an Exception: extensions have errors of their own, such as the
        # PanicException of Rust.
        logger.exception("validator of an output type failed")
        name = type(error).__name__
        raise InvalidOutput(f"The validation of the answer failed: {name}.") from None


def _load(data: bytes) -> object:
    """Return a JSON value; a number that is no finite one is a `ValueError`."""
    try:
        return json.loads(data, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("a number is not finite")
    return value


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose root is no reference, as that of a recursive type is."""
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    if not reference:
        return schema
    root: dict[str, Any] = schema["$defs"][reference]
    return root | {"$defs": schema["$defs"]}


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has the value."""
    inner = {name: value for name, value in schema.items() if name != "$defs"}
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {
        "type": "object",
        "properties": {WRAPPER: inner},
        "required": [WRAPPER],
        "additionalProperties": False,
        **definitions,
    }


def _candidates(text: str) -> Iterator[str]:
    """Yield the parts of a text that may be the answer: all of it, then JSON in it."""
    text = text.strip()
    if not text:
        return
    yield text
    if fenced := _FENCED.match(text):
        yield fenced[1]
    start = 0
    for _ in range(MAX_CANDIDATES):
        found = re.compile(r"[{[]").search(text, start)
        if not found:
            return
        end = _end_of_value(text, found.start())
        yield text[found.start() : end]
        start = end


def _end_of_value(text: str, start: int) -> int:
    """Return the end of the JSON value that begins with a bracket at `start`."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
        if depth == 0:
            return token.end()
    return len(text)


def _sentence(error: ValidationError) -> str:
    """Return the first problems of an answer, without the values in it."""
    total = error.error_count()
    if total > MAX_DESCRIBED:
        return f"The answer has {total:,} problems."
    problems = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    described = [
        f"{'.'.join(str(step)[:60] for step in problem['loc']) or 'answer'}: "
        f"{problem['msg'][:200]}"
        for problem in problems[:MAX_ERRORS]
    ]
    sentence = f"The answer does not fit: {'; '.join(described)}."
    return UNSTORABLE.sub("\ufffd", sentence)
