"""What the request must know of a model: whether it reasons, and how little it can."""

import re

DEFAULT_MODEL = "gpt-6.2-sol"

#: Ways to say that the model should not think, as far as it can help it.
OFF = ("off", "0")

_REASONS = re.compile(r"(gpt-[5-9]|gpt-\d\d|gpt-oss|o\d|codex-|computer-use-)")
_ANSWERS_AT_ONCE = re.compile(r"-chat(-|$)|-search-")

# The lowest effort of a family; "low" is the floor of those that are not listed.
_LOWEST = (
    (re.compile(r".*-pro(-|$)"), None),
    (re.compile(r".*codex"), "low"),
    (re.compile(r"gpt-5(-mini|-nano)?(-\d{4}|$)"), "minimal"),
    (re.compile(r"gpt-(5\.[1-6]|6-sol|6-luna)(-|$)"), "none"),
)

_LOW_BUDGET = 2_048
_MEDIUM_BUDGET = 8_192


def reasons(model: str) -> bool:
    """Whether this is a model of OpenAI's that takes reasoning options."""
    name = _bare(model)
    return bool(_REASONS.match(name)) and not _ANSWERS_AT_ONCE.search(name)


def effort(thinking: str, model: str) -> str | None:
    """The effort that `thinking` asks for; None leaves it to the model.

    A budget of tokens, which OpenAI does not know, becomes the nearest effort.
    """
    match thinking:
        case "auto":
            return None
        case _ if thinking in OFF:
            return _lowest(model)
        case _ if thinking.isdecimal():
            return _nearest(int(thinking))
        case _:
            return thinking


def _nearest(budget: int) -> str:
    if budget < _LOW_BUDGET:
        return "low"
    return "medium" if budget < _MEDIUM_BUDGET else "high"


def _lowest(model: str) -> str | None:
    if not reasons(model):
        return "none"
    name = _bare(model)
    return next((low for known, low in _LOWEST if known.match(name)), "low")


def _bare(model: str) -> str:
    """`gpt-5`, also where a router says `openai/gpt-5`."""
    return model.rsplit("/", 1)[-1]
