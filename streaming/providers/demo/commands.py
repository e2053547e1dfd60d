"""Commands: streams of a given kind and length, and calls of a given tool."""

import json
import re
from itertools import cycle, islice

from streaming.providers.demo.plans import Call, Plan, Reply, Step

MAX_WORDS = 10_000
MAX_PAUSE_SECONDS = 300
SENTENCE = "This is the offline demo model, streaming one word after the other."
REFUSAL = Reply("I refuse, as I was asked to.", stop_reason="refusal")


def count(found: re.Match[str]) -> Reply:
    """Count to 200."""
    return Reply(" ".join(map(str, range(1, _number(found, MAX_WORDS) + 1))))


def stream(found: re.Match[str]) -> Reply:
    """Stream 500 words."""
    return Reply(_words(found))


def think(found: re.Match[str]) -> Reply:
    """Think for 50 words."""
    return Reply("That was a long thought.", thought=_words(found))


def wait(found: re.Match[str]) -> Reply:
    """Wait 5 seconds."""
    seconds = _number(found, MAX_PAUSE_SECONDS)
    return Reply(f"I have been silent for {seconds} seconds.", pause=seconds)


def fail(found: re.Match[str]) -> Reply:
    """Fail after 20 words."""
    return Reply(_words(found), fails=True)


def call(found: re.Match[str]) -> Plan:
    """Call current_time with {"timezone": "Tokyo"}."""
    [result] = yield Step(f"I call {found[1]}.", [Call(found[1], found[2])])
    return Reply(f"`{found[1]}` answered:\n\n{result}")


def time(found: re.Match[str]) -> Plan:
    """Tell the time in each place that the question names."""
    zones = re.split(r"(?:,| and) (?:and )?(?:in )?", found[1]) if found[1] else []
    times = yield Step(
        "This asks for the time. I call the clock, once for each place.",
        [Call("current_time", json.dumps({"timezone": zone})) for zone in zones]
        or [Call("current_time", "{}")],
    )
    return Reply("\n\n".join(f"It is **{time}**." for time in times))


def _words(found: re.Match[str]) -> str:
    return " ".join(islice(cycle(SENTENCE.split()), _number(found, MAX_WORDS)))


def _number(found: re.Match[str], most: int) -> int:
    return min(most, int((found[1] or "0").replace(",", "")))
