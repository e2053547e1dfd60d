"""The comparison of the events that clients received with the event log."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Self

from bench.faults.model import text_of

PACE_MS = 100
TOOL_SECONDS = 0.4


class Event(NamedTuple):
    """A logged event as a client received it; `arrived` is a time of `time.time()`."""

    number: int
    type: str
    data: str
    arrived: float


@dataclass(frozen=True)
class Prompt:
    """A question for the stand-in provider, and the answer to it."""

    text: str
    answer: str

    @classmethod
    def make(cls, numbers: int, *, with_tools: bool) -> Self:
        """Ask for numbers, after two calls of a tool that must not be repeated."""
        say = f"say {numbers} every {PACE_MS}"
        if not with_tools:
            return cls(say, text_of(numbers))
        ticket = uuid.uuid4().hex
        booking = f"book 2 x {TOOL_SECONDS} as {ticket} then {say}"
        return cls(booking, f"Wait. {text_of(numbers)}")

    @property
    def body(self) -> dict[str, object]:
        """The request that asks it."""
        return {"input": self.text, "restarts": True}


@dataclass(frozen=True)
class Seen:
    """A run as one client saw it. `trouble`: the reason that it did not see the end."""

    client: str
    run_id: str
    prompt: Prompt
    asked_at: float
    events: Sequence[Event]
    trouble: str = ""

    @property
    def gap(self) -> float:
        """The longest time without an event, from the request to the end."""
        times = [self.asked_at, *(event.arrived for event in self.events)]
        return max((after - before for before, after in pairwise(times)), default=0.0)

    @property
    def valid(self) -> list[Event]:
        """The events that no later attempt of the run has voided."""
        found: list[Event] = []
        for event in self.events:
            if event.type == "restarted":
                after = discard_after(event)
                found = [each for each in found if each.number <= after]
            found.append(event)
        return found

    @property
    def text(self) -> str:
        """The answer."""
        said = (json.loads(e.data) for e in self.valid if e.type == "content")
        return "".join(data["content"] for data in said)

    @property
    def outcome(self) -> str:
        """The stop reason or the code of the error; empty without an end."""
        for event in reversed(self.events):
            if event.type in ("complete", "error"):
                metadata = json.loads(event.data)["metadata"]
                return str(metadata.get("stop_reason") or metadata.get("code"))
        return ""


@dataclass
class Comparison:
    """The result of the comparison of runs with their logs and answers."""

    runs: int = 0
    ended: int = 0
    #: Runs that did not end with their whole answer, or events that did not arrive.
    lost: int = 0
    duplicates: int = 0
    differing_bytes: int = 0
    restarted: int = 0
    longest_gap: float = 0.0
    #: The client of the longest gap.
    slowest: str = ""
    problems: list[str] = field(default_factory=list)

    def add(self, seen: Seen, logged: Sequence[Event]) -> None:
        """Compare a run with its log."""
        self.runs += 1
        self.ended += bool(seen.outcome)
        if seen.gap > self.longest_gap:
            self.longest_gap, self.slowest = seen.gap, seen.client
        self.restarted += sum(e.type == "restarted" for e in seen.events)
        if (
            seen.trouble
            or seen.outcome != "end_turn"
            or seen.text != seen.prompt.answer
        ):
            self.lost += 1
            self._report(seen, f"outcome {seen.outcome!r}, {seen.trouble}")
        log = {event.number: event for event in logged}
        numbers = {event.number for event in seen.events}
        if not seen.trouble and (missing := log.keys() - numbers):
            self.lost += len(missing)
            self._report(seen, f"events not received: {sorted(missing)[:5]}")
        repeated = [b for a, b in pairwise(seen.events) if b.number <= a.number]
        if repeated:
            self.duplicates += len(repeated)
            self._report(seen, f"events repeated: {[e.number for e in repeated[:5]]}")
        for event in _differing(seen, log):
            self.differing_bytes += len(event.data)
            self._report(seen, f"differs from the log: {event.number} {event.data}")

    def _report(self, seen: Seen, problem: str) -> None:
        self.problems.append(f"{seen.client} run {seen.run_id}: {problem}")


def _differing(seen: Seen, log: Mapping[int, Event]) -> Iterator[Event]:
    """Yield the events that the log has differently, or lacks without having them void.

    A crash removes the newest events from the log, and `restarted` voids them.
    """
    restarts = [event for event in seen.events if event.type == "restarted"]
    ranges = [(discard_after(event), event.number) for event in restarts]
    for event in seen.events:
        logged = log.get(event.number)
        if logged is None:
            if not any(low < event.number < high for low, high in ranges):
                yield event
        elif (event.type, event.data) != (logged.type, logged.data):
            yield event


def discard_after(restarted: Event) -> int:
    """Return the last number that an event of the type `restarted` leaves valid."""
    return int(json.loads(restarted.data)["metadata"]["discard_after"])
