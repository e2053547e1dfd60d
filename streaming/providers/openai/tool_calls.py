"""The assembly of tool calls from the fragments that OpenAI and others send."""

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from streaming.messages import ToolCallPart
from streaming.providers.limits import (
    MAX_NAME_CHARS,
    HeldArguments,
    HeldChars,
    ResponseLimits,
)
from streaming.providers.streaming_response import json_text
from streaming.tool_calls import is_object, object_text

#: The fields of a fragment that have a meaning here.
_KNOWN_FIELDS = frozenset({"index", "id", "type", "function", "call_id", "status"})
_KNOWN_FUNCTION_FIELDS = frozenset({"name", "arguments"})


class OpenCall:
    """An incomplete tool call. The first id and name count: servers repeat them."""

    def __init__(self, limits: ResponseLimits, held: HeldChars) -> None:
        held.open()
        self.id = ""
        self.name = ""
        self._limits = limits
        self._held = held
        self._arguments = HeldArguments(limits, held)
        self._may_be_complete = False
        self._extra: dict[str, Any] = {}

    @property
    def arguments(self) -> str:
        """The arguments received so far."""
        return str(self._arguments)

    def add(self, id: object, name: object, arguments: object) -> None:
        """Add a fragment. Some servers send complete arguments as an object.

        Raises `LimitReached`.
        """
        if isinstance(id, str) and len(id) <= MAX_NAME_CHARS:
            self.id = self.id or id
        if isinstance(name, str):
            self.name = self.name or name[:MAX_NAME_CHARS]
        if isinstance(arguments, dict):
            self._arguments.release()
            self._arguments = HeldArguments(self._limits, self._held)
            arguments = json_text(arguments)
        if isinstance(arguments, str):
            self._arguments.add(arguments)
            if written := arguments.rstrip():
                self._may_be_complete = written.endswith("}")

    @property
    def is_complete(self) -> bool:
        """True if nothing can be added to the arguments."""
        return self._may_be_complete and is_object(self.arguments)

    @property
    def is_truncated(self) -> bool:
        """True if the arguments were begun and not completed."""
        return bool(self._arguments) and object_text(self.arguments) is None

    def is_followed_by(self, id: object, name: object, arguments: object) -> bool:
        """Return True if a fragment with the same index begins another call."""
        if not name:
            return False
        if id and self.id:
            return id != self.id
        if name != self.name:
            return True
        # Some servers send an empty object before the arguments.
        return bool(arguments) and self.is_complete and self.arguments.strip() != "{}"

    def keep_extra(self, fragment: dict[str, Any]) -> None:
        """Keep the unknown fields of a fragment, which must be sent back.

        Raises `LimitReached`.
        """
        extra = _unknown(fragment, _KNOWN_FIELDS)
        function = fragment.get("function")
        fields = function if isinstance(function, dict) else {}
        if inner := _unknown(fields, _KNOWN_FUNCTION_FIELDS):
            extra["function"] = self._extra.get("function", {}) | inner
        if extra:
            self._held.add(len(msgspec.json.encode(extra)))
            self._extra |= extra

    def part(self) -> ToolCallPart:
        """Return the call, with a generated id if the server sent none."""
        id = self.id or f"call_{uuid.uuid4().hex[:24]}"
        arguments = self.arguments.strip() or "{}"
        return ToolCallPart(id, self.name, arguments, self._extra or None)


def _unknown(fields: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.items()
        if name not in known and value is not None
    }


class OpenCalls:
    """The tool calls of one response, distinguished by index, id or name."""

    def __init__(self, limits: ResponseLimits) -> None:
        self._limits = limits
        self._held = HeldChars(limits)
        self._calls: list[OpenCall] = []
        self._by_index: dict[int, OpenCall] = {}

    def add(
        self, index: object, id: object, name: object, arguments: object
    ) -> OpenCall:
        """Add a fragment of a call, or the beginning of another call; return it.

        Raises `LimitReached`.
        """
        number = index if isinstance(index, int) else None
        call = self._find(number, begins=bool(id or name))
        if call is None or call.is_followed_by(id, name, arguments):
            call = OpenCall(self._limits, self._held)
            self._calls.append(call)
        if number is not None and self._by_index.get(number) is not call:
            self._held.open()
            self._by_index[number] = call
        call.add(id, name, arguments)
        return call

    def parts(self, *, complete_only: bool) -> Iterator[ToolCallPart]:
        """Yield the calls in the order in which they began, each with a unique id."""
        ids: set[str] = set()
        for call in self._calls:
            if call.id in ids:
                call.id = ""
            ids.add(call.id)
            if call.name and not (
                complete_only and object_text(call.arguments) is None
            ):
                yield call.part()

    def _find(self, index: int | None, *, begins: bool) -> OpenCall | None:
        """Return the call of a fragment, if it has begun; without an index the last."""
        if index is not None and (index in self._by_index or begins):
            return self._by_index.get(index)
        return self._calls[-1] if self._calls else None
