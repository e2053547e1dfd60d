"""Tool calls as OpenAI and the servers that speak like it send them: in fragments."""

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from streaming.messages import ToolCallPart

_OBJECT = msgspec.json.Decoder(dict[str, Any])


def is_object(text: str) -> bool:
    """Whether this is a whole JSON object, to which nothing can be added."""
    if not text.rstrip().endswith("}"):
        return False
    try:
        _OBJECT.decode(text)
    except ValueError:
        return False
    return True


class OpenCall:
    """A tool call under way. The first id and name count: servers repeat them."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self._pieces: list[str] = []

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        return "".join(self._pieces)

    def add(self, id: object, name: object, arguments: object) -> None:
        """Take in a fragment. Some servers send the arguments as an object, whole."""
        if isinstance(id, str):
            self.id = self.id or id
        if isinstance(name, str):
            self.name = self.name or name
        if isinstance(arguments, str):
            self._pieces.append(arguments)
        elif isinstance(arguments, dict):
            self._pieces = [msgspec.json.encode(arguments).decode()]

    @property
    def is_cut(self) -> bool:
        """Whether the arguments were begun and not ended."""
        return bool(self.arguments) and not is_object(self.arguments)

    def is_left_by(self, id: object, name: object, arguments: object) -> bool:
        """Whether a fragment that came to the same place begins another call."""
        if not name:
            return False
        if id and self.id:
            return id != self.id
        return name != self.name or (bool(arguments) and is_object(self.arguments))

    def part(self) -> ToolCallPart:
        """The call, with an id of ours where the server gave none."""
        id = self.id or f"call_{uuid.uuid4().hex[:24]}"
        return ToolCallPart(id, self.name, self.arguments.strip() or "{}")


class OpenCalls:
    """The tool calls of one answer, out apart by index, id or name."""

    def __init__(self) -> None:
        self._calls: list[OpenCall] = []
        self._at: dict[int, OpenCall] = {}

    def add(
        self, index: int | None, id: object, name: object, arguments: object
    ) -> None:
        """Take in a fragment of one of them, or the beginning of another."""
        call = self._find(index, begins=bool(id or name))
        if call is None or call.is_left_by(id, name, arguments):
            call = OpenCall()
            self._calls.append(call)
        if index is not None:
            self._at[index] = call
        call.add(id, name, arguments)

    def parts(self, *, whole_only: bool) -> Iterator[ToolCallPart]:
        """The calls in the order in which they began, each with an id of its own."""
        ids: set[str] = set()
        for call in self._calls:
            if call.id in ids:
                call.id = ""
            ids.add(call.id)
            if call.name and (is_object(call.arguments) or not whole_only):
                yield call.part()

    def _find(self, index: int | None, *, begins: bool) -> OpenCall | None:
        if index is not None and (index in self._at or begins):
            return self._at.get(index)
        return self._calls[-1] if self._calls else None
