"""Recorded answers: two of the example prompts, help, and the apology."""

import re
from textwrap import shorten

from streaming.providers.demo.plans import Reply

IDENTITY = "I am the built-in offline demo model: some rules, not a language model."
CONNECT = (
    "To connect a real model, set `ANTHROPIC_API_KEY` or `OPENAI_API_KEY` and start "
    "the server again."
)
EXPLANATION_PROMPT = "Explain how photosynthesis works"
EXPLANATION = Reply(
    f"""*This answer is recorded. {IDENTITY}*

**Photosynthesis** turns light, water and carbon dioxide into sugar and oxygen:

1. **Light reactions.** Chlorophyll absorbs light. Its energy splits water, which
   releases oxygen, and is stored in ATP and NADPH.
2. **Calvin cycle.** With this energy the plant builds sugar from carbon dioxide.

In one line: 6 CO₂ + 6 H₂O + light → C₆H₁₂O₆ + 6 O₂.""",
    thought="I have a recorded answer to this prompt, and say that it is recorded.",
)
PUZZLE_PROMPT = """\
Using step-by-step reasoning, solve this logic puzzle: Three friends, Ann, Bob and
Cleo, have different colored cars: red, blue and green. Ann's car is not red. Bob's car
is blue. Which car does each of them have?"""
PUZZLE = Reply(
    f"""*This answer is recorded. {IDENTITY}*

1. Bob's car is blue, which leaves red and green for Ann and Cleo.
2. Ann's car is not red, so it is green.
3. Red is left for Cleo.

**Ann: green. Bob: blue. Cleo: red.**""",
    thought="I have a recorded answer to this puzzle, but could not solve another one.",
)
HELP = Reply(
    f"""Hello! {IDENTITY} These are the prompts that I answer:

- the four examples of the README
- arithmetic: `What is 15% of 240, and what is the square root of 144?`
- the time: `What time is it in Tokyo and Berlin?`
- commands, to try a client: `count to 200`, `stream 500 words`, `think for 50 words`,
  `wait 5 seconds`, `fail after 20 words`, `refuse`, `show markdown`
- a call of any of the agent's tools: `call calculator with {{"expression": "6 * 7"}}`

{CONNECT}"""
)


def apology(found: re.Match[str]) -> Reply:
    """Admit that no rule fits, rather than invent an answer."""
    question = shorten(found.string[:200].rstrip(" .?!"), 80, placeholder="…")
    return Reply(
        f"I cannot answer “{question}”. {IDENTITY} Try `help`.\n\n{CONNECT}",
        thought="None of my rules fits. I say so rather than invent an answer.",
    )


def same_words(prompt: str) -> str:
    """Return a pattern for a prompt that ignores spaces and punctuation."""
    return r"\W+".join(re.findall(r"\w+", prompt)) + r"\W*$"
