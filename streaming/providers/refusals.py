"""The causes for which a server refuses a request, found in its text and remembered.

Compatible servers accept different subsets of an API. A request is sent in the usual
form. If the server refuses it and names the cause, the cause is learned: requests to
that server are built without it from then on. Each API has a list of known causes; any
other field that the text names is removed.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

from streaming.providers.output_limits import smaller_limits

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]

#: The most causes that one model call learns: each costs one more request.
MAX_CAUSES = 4

#: The prefix of a learned field that is removed.
OMIT = "omit:"
#: The words of a template that knows two roles, and none for the results of tools.
ALTERNATING = r"roles? [^.]{0,60}altern|only user(,| and) assistant"
#: The place of a field in messages, tools and other lists.
ANYWHERE = "*"

#: Fields without which a request means something else or nothing.
_ESSENTIAL = frozenset(
    {
        "$defs",
        "$ref",
        "anyOf",
        "arguments",
        "call_id",
        "content",
        "description",
        "enum",
        "function",
        "function_call",
        "id",
        "input",
        "input_schema",
        "instructions",
        "items",
        "messages",
        "model",
        "name",
        "output",
        "parameters",
        "properties",
        "required",
        "role",
        "stream",
        "system",
        "text",
        "tool_call_id",
        "tool_calls",
        "tool_use_id",
        "tools",
        "type",
    }
)
#: Names of maps whose keys are names of the user's, not fields.
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties"})
#: Fields that hold the user's or the model's own values.
_VALUES = frozenset({"arguments", "const", "default", "enum", "examples", "example"})
_LISTS = ("messages", "input", "tools", "system")

#: The fields of an error in which the server repeats what it was sent.
_QUOTING = frozenset({"input", "ctx", "url", "failed_generation", "type"})

#: Words of English that are fields as well: only a quoted one names the field.
_WORDS = frozenset({"include", "store", "stop", "user"})
#: A field below the first level that needs no quotes to be recognized.
_IDENTIFIER = re.compile(r"\w*(_|[a-z][A-Z])\w*")
#: The most characters that are searched for a cause.
_MAX_TEXT = 4_000

_QUOTED_NAME = re.compile(r"[`'\"‘“]([$A-Za-z_][\w.\[\]$-]*)[`'\"’”]")
_BARE_NAME = re.compile(r"(?<![\w.'\"`])([A-Za-z_][\w.\[\]]*)", re.ASCII)
#: A word that a sentence calls a field, as certain as a quoted one.
_CALLED_FIELD = re.compile(
    r"\b([a-z_]\w*) (?:parameter|argument|field|property)\b", re.IGNORECASE
)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_STEP = re.compile(r"[$A-Za-z_][\w$-]*")
_WORDING = re.compile(
    r"unsupported|not (be )?(support|permit|allow|accept|implement|recogni|enabl)|"
    r"does ?n[o']t support|unknown|unrecogni|unexpected|extra |forbidden|invalid|"
    r"cannot|remove|deprecated|only |not a valid|disabled|must not|no longer|"
    r"不支持|不允许|无效|非法|未知|不正确",
    re.IGNORECASE,
)


class Cause(NamedTuple):
    """A known cause: its name, the words that name it, and the requests it applies to.

    A cause is found only in the refusal of a request that would be built differently
    once it is learned. A last resort is found only if the text names no field.
    """

    name: str
    pattern: re.Pattern[str]
    applies: Callable[[Body], bool]
    is_last_resort: bool
    #: The cause that this one contradicts.
    replaces: str


def cause(
    name: str,
    pattern: str,
    applies: Callable[[Body], bool] = lambda _: True,
    *,
    is_last_resort: bool = False,
    replaces: str = "",
) -> Cause:
    """Return a known cause whose words are found regardless of case."""
    words = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return Cause(name, words, applies, is_last_resort, replaces)


class Dialect:
    """The causes for which one server has refused requests to one model."""

    def __init__(
        self, known: Sequence[Cause], required: AbstractSet[str] = frozenset()
    ) -> None:
        self.learned: frozenset[str] = frozenset()
        self._known = known
        self._required = required

    def find(
        self, refusal: str, body: Body, sent_without: AbstractSet[str]
    ) -> str | None:
        """Return the cause of a refusal that another request avoids; None without one.

        `body` is the refused request. Another model call may have learned the cause in
        the meantime; `sent_without` are the causes that the body was built without.
        """
        return find_cause(refusal, body, self._known, sent_without, self._required)

    def learn(self, name: str) -> None:
        """Avoid a cause from now on."""
        if name not in self.learned:
            logger.warning("request refused, cause learned: %s", name)
            replaced = {each.replaces for each in self._known if each.name == name}
            self.learned = (self.learned - replaced) | {name}


def find_cause(
    refusal: str,
    body: Body,
    known: Iterable[Cause],
    learned: AbstractSet[str],
    required: AbstractSet[str] = frozenset(),
) -> str | None:
    """Return the cause of a refusal; None if it names none.

    `body` is the refused request, `learned` are the causes that it was built without,
    `required` the fields that the API requires. A cause of `known` is found before a
    field, except for a last resort.
    """
    text = sentences(refusal)
    matching = [
        each for each in known if each.pattern.search(text) and each.applies(body)
    ]
    paths = chain(_paths(refusal, text), _bare_paths(text, body))
    candidates = chain(
        (each.name for each in matching if not each.is_last_resort),
        smaller_limits(text, body),
        (_removable(path, body, required) for path in paths),
        (each.name for each in matching if each.is_last_resort),
    )
    return next((name for name in candidates if name and name not in learned), None)


def sentences(refusal: str) -> str:
    """Return the sentences and codes of a refusal, without the form around them."""
    return "\n".join(_texts(refusal))[:_MAX_TEXT]


def _texts(refusal: str) -> Iterator[str]:
    """Yield the texts of a refusal, except those that quote the request."""
    try:
        value = json.loads(refusal)
    except (ValueError, RecursionError):
        yield refusal
        return
    yield from _strings(value)


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            if value.startswith(("{", "[")):  # a router quotes the body of another
                yield from _texts(value)
            else:
                yield value
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for key, item in value.items():
                if key not in _QUOTING:
                    yield from _strings(item)


def _paths(refusal: str, text: str) -> Iterator[list[str]]:
    """Yield the paths of fields that a refusal names, the most certain first."""
    with suppress(ValueError, RecursionError):
        yield from _named_paths(json.loads(refusal))
    for found in (*_QUOTED_NAME.findall(text), *_CALLED_FIELD.findall(text)):
        yield from _spellings(found)


def _spellings(name: str) -> Iterator[list[str]]:
    """Yield a path as it is written, and in snake case if it is in camel case."""
    steps = _STEP.findall(name)
    yield steps
    if _HUMP.search(name):
        yield [_HUMP.sub("_", step).lower() for step in steps]


def _bare_paths(text: str, body: Body) -> Iterator[list[str]]:
    """Yield the paths that stand in a sentence without quotes."""
    if not _WORDING.search(text):
        return
    for found in _BARE_NAME.findall(text):
        steps = _STEP.findall(found)
        if found not in _WORDS and (
            steps[0] in body or _IDENTIFIER.fullmatch(steps[-1])
        ):
            yield from _spellings(found)


def _named_paths(value: object) -> Iterator[list[str]]:
    """Yield the paths in `param` and `loc` fields, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _named_paths(item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in ("param", "loc"):
            steps = item if isinstance(item, list) else [item]
            yield _STEP.findall(" ".join(str(step) for step in steps if step))
        elif key not in _QUOTING:
            yield from _named_paths(item)


def _removable(
    path: Sequence[str], body: Body, required: AbstractSet[str]
) -> str | None:
    """Return the cause for the field that a path names in the body, if it has one."""
    for position, step in reversed(list(enumerate(path))):
        if step in _ESSENTIAL or step in required:
            continue
        above = path[position - 1] if position else ""
        if isinstance(body.get(above), dict) and step in body[above]:
            return f"{OMIT}{above}/{step}"
        if step in body:
            return f"{OMIT}{step}"
        owner = next((k for k, v in body.items() if k in path and _has(v, step)), "")
        if isinstance(body.get(owner), dict):
            return f"{OMIT}{owner}/{step}"
        if any(_has(body.get(name), step) for name in _LISTS):
            return f"{OMIT}{ANYWHERE}/{step}"
        inside = [k for k, v in body.items() if isinstance(v, dict) and step in v]
        if inside:
            return f"{OMIT}{inside[0]}/{step}"
    return None


def _has(value: object, name: str) -> bool:
    """Return True if a field occurs in a value, at any depth."""
    return bool(_without(value, frozenset({name})) != value)


def remove_learned(body: dict[str, Any], learned: AbstractSet[str]) -> None:
    """Remove the learned fields from a request's body."""
    anywhere: set[str] = set()
    for each in learned:
        if not each.startswith(OMIT):
            continue
        place, slash, name = each[len(OMIT) :].rpartition("/")
        if not slash:
            body.pop(name, None)
        elif place == ANYWHERE:
            anywhere.add(name)
        elif isinstance(body.get(place), dict):
            body[place] = _without(body[place], {name})
            if not body[place]:
                del body[place]
    if anywhere:
        for place in _LISTS:
            if isinstance(body.get(place), list):
                body[place] = _without(body[place], anywhere)


def _without(value: Any, names: AbstractSet[str]) -> Any:  # noqa: ANN401
    """Return a JSON value without the fields of these names.

    Names of parameters and the values of a call's arguments are no fields.
    """
    match value:
        case list():
            return [_without(item, names) for item in value]
        case dict():
            return {
                key: _without_in_field(key, item, names)
                for key, item in value.items()
                if key not in names
            }
    return value


def _without_in_field(key: str, value: Any, names: AbstractSet[str]) -> Any:  # noqa: ANN401
    if key in _VALUES or (key == "input" and isinstance(value, dict)):
        return value
    if key in _MAPS and isinstance(value, dict):
        return {name: _without(item, names) for name, item in value.items()}
    return _without(value, names)
