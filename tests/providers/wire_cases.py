"""Recorded responses of real providers, for machines that have them.

`WIRE_CASES` names their folder, else it is `shared/wire` beside the repository. Where
there is none, the `test_*_wire.py` modules are not collected: the streams that the
other tests compose cover the same protocol features.
"""

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streaming.testing.provider import Reply

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "wire"
FOLDER = Path(os.environ.get("WIRE_CASES") or _BESIDE)
IS_HERE = (FOLDER / "index.json").is_file()

#: Forms in which the bytes of a stream arrive.
Form = Literal["whole", "cut", "cut with gzip", "cut with CRLF"]
FORMS: tuple[Form, ...] = Form.__args__  # type: ignore[attr-defined]

# Just long enough that each piece is sent on its own.
_DELAY = 1e-6


@dataclass(frozen=True)
class WireCase:
    """One recorded response, and the content expected of it."""

    name: str
    api: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    expected: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name

    def reply(self, form: Form = "whole") -> Reply:
        """The reply of a stream, in pieces that depend on the case only."""
        body = self.body
        if form == "whole":
            return Reply(body)
        if form == "cut with gzip":
            return Reply(body, gzip=True, chunk_size=29, delay=_DELAY)
        if form == "cut with CRLF":
            body = body.replace(b"\n", b"\r\n")
        chance = random.Random(f"{self.name} {form}")
        cuts = chance.sample(range(1, len(body)), min(60, len(body) - 1))
        return Reply(body, cuts=cuts, delay=_DELAY)

    def bytewise(self) -> Reply:
        """The reply of a stream, one byte at a time."""
        return Reply(self.body, chunk_size=1, delay=_DELAY)

    def error_reply(self) -> Reply:
        """The reply with an error's body."""
        return Reply(self.body, self.status, "application/json", self.headers)


def streams(api: str) -> list[WireCase]:
    """The recorded streams of "messages", "chat" or "responses"."""
    return [case for case in _load(api) if case.status == 200]


def errors(api: str) -> list[WireCase]:
    """The recorded error bodies of the same."""
    return [case for case in _load(api) if case.status != 200]


def _load(api: str) -> list[WireCase]:
    index = json.loads((FOLDER / "index.json").read_bytes())
    return [_case(entry) for entry in index["cases"] if entry["api"] == api]


def _case(entry: Mapping[str, Any]) -> WireCase:
    body = (FOLDER / entry["file"]).read_bytes()
    if entry["terminated"] is False:
        body = body.rstrip(b"\n") + b"\n\n"
    return WireCase(
        name=entry["case"],
        api=entry["api"],
        status=entry["status"],
        headers=entry.get("headers") or {},
        body=body,
        expected=entry["expected"],
    )
