"""What the demo model does on command, to see how a client takes it."""

import json
import re
from collections.abc import Callable
from itertools import cycle, islice

from streaming.providers.demo.plans import Call, Plan, Question, Reply, Step, say
from streaming.providers.demo.sample import MARKDOWN

MOST_WORDS = 10_000
LONGEST_PAUSE = 300
SENTENCE = "This is the offline demo model, streaming one word after the other."


def script(question: Question) -> Plan | None:
    """Count to 500, stream 2000 words, wait 20 seconds and the like."""
    for pattern, reply in SCRIPTS:
        if found := re.match(pattern, question.text, re.IGNORECASE):
            return say(reply(found[1] or "0"))
    return None


def _count(number: str) -> Reply:
    last = _at_most(MOST_WORDS, number)
    counted = " ".join(map(str, range(1, last + 1)))
    return Reply(counted, thought=f"I am to count, and I do, up to {last}.")


def _stream(number: str) -> Reply:
    return Reply(_words(number), thought="I am to stream words, so I do.")


def _think(number: str) -> Reply:
    return Reply("That was a long thought.", thought=_words(number))


def _wait(number: str) -> Reply:
    seconds = _at_most(LONGEST_PAUSE, number)
    return Reply(f"I have been silent for {seconds} seconds.", pause=seconds)


def _fail(number: str) -> Reply:
    return Reply(_words(number), thought="I am to fail, so I do.", fails=True)


def _refuse(_: str) -> Reply:
    said = "I refuse, as I was asked to."
    return Reply(said, thought="I am to refuse, so I do.", stop_reason="refusal")


def _markdown(_: str) -> Reply:
    return Reply(MARKDOWN, thought="I am to show Markdown, so I do.")


def _words(number: str) -> str:
    return " ".join(islice(cycle(SENTENCE.split()), _at_most(MOST_WORDS, number)))


def _at_most(most: int, number: str) -> int:
    return min(most, int(number.replace(",", "")))


SCRIPTS: tuple[tuple[str, Callable[[str], Reply]], ...] = (
    (r"(?:please )?count (?:up )?to (\d[\d,]*)", _count),
    (r"(?:please )?(?:stream|write|say) (\d[\d,]*) words", _stream),
    (r"think for (\d[\d,]*) words", _think),
    (r"wait (?:for )?(\d[\d,]*) seconds?", _wait),
    (r"fail(?: after (\d[\d,]*) words)?\W*$", _fail),
    (r"refuse()\W*$", _refuse),
    (r"show (?:me )?markdown()\W*$", _markdown),
)
CALL = re.compile(
    r"call (?:the tool )?`?([\w-]+)`? with (\{.*\})\W*$", re.I | re.DOTALL
)


def call(question: Question) -> Plan | None:
    """Call NAME with {…}: any tool of the agent."""
    found = CALL.match(question.text)
    if not found:
        return None
    try:
        arguments = json.loads(found[2])
    except (ValueError, RecursionError):
        return say(Reply("I cannot read these arguments: they are not JSON."))
    return _call(Call(found[1], arguments))


def _call(wanted: Call) -> Plan:
    [result] = yield Step(f"I am to call {wanted.tool}, so I do.", [wanted])
    told = "answered with an error" if result.is_error else "answered"
    return Reply(
        f"`{wanted.tool}` {told}:\n\n{result.result}",
        thought="The tool has answered; I pass it on.",
    )
