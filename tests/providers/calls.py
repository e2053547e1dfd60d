"""A count of the calls of one function, taken by the interpreter's profiler."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class Calls:
    """The number of calls so far."""

    count: int = 0


@contextmanager
def count_calls(function: Callable[..., Any]) -> Iterator[Calls]:
    """Count the calls of a Python function in this thread, without replacing it."""
    calls = Calls()
    code = function.__code__

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is code:
            calls.count += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(before)
