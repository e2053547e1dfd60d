"""The fields of a chat message that only its server understands.

They arrive in pieces and are sent back with the message: OpenRouter's
`reasoning_details`, Google's thought signatures (`extra_content`), and the like.
"""

from typing import Any

import msgspec

from streaming.providers.limits import HeldChars, ResponseLimits

NAMES = ("reasoning_details", "extra_content", "provider_specific_fields")

#: The fields of a detail whose pieces are joined.
_TEXTS = ("text", "summary", "data")


class MessageFields:
    """The pieces of such fields, joined as they arrive."""

    __slots__ = ("_details", "_held", "_others")

    def __init__(self, limits: ResponseLimits) -> None:
        self._held = HeldChars(limits)
        self._details: list[dict[str, Any]] = []
        self._others: dict[str, Any] = {}

    def add(self, delta: msgspec.Struct) -> None:
        """Add the fields of one chunk. Raises `LimitReached`."""
        for name in NAMES:
            value = getattr(delta, name)
            self._held.add(len(msgspec.json.encode(value)))
            if isinstance(value, list) and name == "reasoning_details":
                for detail in value:
                    self._add_detail(detail)
            elif isinstance(value, dict):
                known = self._others.setdefault(name, {})
                _merge(known, value)
            elif value:
                self._others[name] = value

    def joined(self) -> dict[str, Any]:
        """Return the fields of the whole message."""
        details = {"reasoning_details": self._details} if self._details else {}
        return self._others | details

    def _add_detail(self, detail: object) -> None:
        """Add a detail, or extend the last one if this is its next piece."""
        if not isinstance(detail, dict):
            return
        last = self._details[-1] if self._details else {}
        same = all(detail.get(name) == last.get(name) for name in ("type", "index"))
        if not (self._details and same and "index" in detail):
            self._details.append(dict(detail))
            return
        for name, value in detail.items():
            joins = name in _TEXTS and isinstance(value, str)
            if joins and isinstance(last.get(name), str):
                last[name] += value
            elif value is not None:
                last[name] = value


def _merge(known: dict[str, Any], added: dict[str, Any]) -> None:
    for name, value in added.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            _merge(known[name], value)
        else:
            known[name] = value
