"""What else the demo model answers: the time, a name, and what it is."""

import re
from textwrap import shorten

from streaming.providers.demo.plans import Call, Plan, Question, Reply, Step, say

WHAT_I_AM = (
    "I am the built-in offline demo model: a handful of rules, not a language model."
)
CONNECT = (
    "To connect a real model, set `ANTHROPIC_API_KEY` or `OPENAI_API_KEY` and start "
    "the server again."
)
HELP = f"""\
{WHAT_I_AM} This is what my rules can do:

- calculate: `What is 15% of 240, and what is the square root of 144?`
- go on from a result: `and times 2?`
- work out a problem: `If I have 5 apples and give away 2, how many do I have?`
- compute compound interest: `… on $10,000 at 5% for 3 years, compounded monthly`
- tell the time: `What time is it in Tokyo?`
- keep a name in mind: `My name is Ada.`
- show how a client takes it: `count to 500`, `stream 2000 words`, \
`think for 100 words`, `wait 20 seconds`, `fail after 10 words`, `refuse`, \
`show markdown`
- call any tool of the agent: `call current_time with {{"timezone": "Asia/Tokyo"}}`

{CONNECT}"""

LONGEST = 1000


def too_long(question: Question) -> Plan | None:
    """More than the rules should have to read."""
    if len(question.text) <= LONGEST:
        return None
    return say(
        Reply(
            f"{WHAT_I_AM} They read up to {LONGEST:,} characters, and this has "
            f"{len(question.text):,}.\n\n{CONNECT}",
            thought="This is too long for my rules.",
        )
    )


ASKS_TIME = re.compile(
    r"\b(?:what(?:'s| is)(?: the)?(?: current| local)? (?:time|date)|what (?:time|day)|"
    r"time is it|(?:current|local) time|today's date|what is today)\b"
    r"(?! (?:complexity|zone|travel|series|frame|limit))",
    re.IGNORECASE,
)
PLACES = re.compile(r"\bin ([\w/ ,.'-]+?)(?: right)?(?: now)?[\s?.!]*$", re.IGNORECASE)


def time(question: Question) -> Plan | None:
    """What time is it in Tokyo?"""
    if not ASKS_TIME.search(question.text):
        return None
    places = PLACES.search(question.text)
    return _time(re.split(r",\s*|\s+and\s+", places[1]) if places else [])


def _time(places: list[str]) -> Plan:
    zones = [re.sub(r"^(?:in )?(?:the )?", "", place) for place in places]
    calls = [Call("current_time", {"timezone": zone}) for zone in zones]
    results = yield Step(
        f"The time is asked for{' in ' * bool(zones)}{' and in '.join(zones)}. I call "
        "current_time.",
        calls or [Call("current_time", {})],
    )
    lines = [
        f"I cannot tell the time. {result.result}"
        if result.is_error
        else f"{f'In {zone} it' if zone else 'It'} is **{result.result}**."
        for zone, result in zip(zones or [""], results, strict=True)
    ]
    return Reply("\n\n".join(lines), thought="The clock has answered.")


TOLD_NAME = re.compile(r"\bmy name is (\w[\w'-]*)", re.IGNORECASE)
ASKS_NAME = re.compile(r"\bwhat(?:'s| is) my name\b|\bwho am i\b", re.IGNORECASE)


def name(question: Question) -> Plan | None:
    """My name is Ada. What is my name?"""
    if ASKS_NAME.search(question.text):
        texts = [*question.earlier_texts, question.text]
        told = [found[1] for text in texts for found in TOLD_NAME.finditer(text)]
        text = (
            f"Your name is {told[-1]}." if told else "You have not told me your name."
        )
        return say(Reply(text, thought="I look for a name in what you have said."))
    if told_now := TOLD_NAME.search(question.text):
        text = f"Nice to meet you, {told_now[1]}. I will know it in this conversation."
        return say(Reply(text, thought="A name, to be found in the history later."))
    return None


GREETING = re.compile(
    r"\s*(?:hi|hello|hey|help|good (?:morning|day|evening)|what can you do|"
    r"who are you|what are you|are you (?:a|an|real|the))\b",
    re.IGNORECASE,
)


def greeting(question: Question) -> Plan | None:
    """Hello? What can you do?"""
    if not GREETING.match(question.text):
        return None
    return say(Reply(f"Hello! {HELP}", thought="I am asked what I am."))


def anything(question: Question) -> Plan:
    """Whatever no rule knows: rather an honest word than an invented answer."""
    asked = shorten(question.text.rstrip(" .?!"), 80, placeholder="…")
    return say(
        Reply(
            f"I cannot answer “{asked}”. {WHAT_I_AM} I can calculate, tell the time "
            f"and stream at any length; say `help` for examples.\n\n{CONNECT}",
            thought="None of my rules fits. I say so rather than invent an answer.",
        )
    )
