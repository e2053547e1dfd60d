"""The reasoning abilities of OpenAI's models, by their names."""

import re

DEFAULT_MODEL = "gpt-6.2-sol"

#: Values of `thinking` that ask for the least reasoning that a model supports.
OFF = ("off", "0")

_REASONING = re.compile(r"(gpt-[5-9]|gpt-\d\d|gpt-oss|o\d|codex-|computer-use-)")
_NOT_REASONING = re.compile(r"-chat(-|$)|-search-")

# The lowest effort of each family; "low" for families that are not listed.
_LOWEST_EFFORTS = (
    (re.compile(r".*-pro(-|$)"), None),
    (re.compile(r".*codex"), "low"),
    (re.compile(r"gpt-5(-mini|-nano)?(-\d{4}|$)"), "minimal"),
    (re.compile(r"gpt-(5\.[1-6]|6-sol|6-luna)(-|$)"), "none"),
)

_LOW_BUDGET = 2_048
_MEDIUM_BUDGET = 8_192


def reasons(model: str) -> bool:
    """Return True for a model of OpenAI that takes reasoning options."""
    name = _base_name(model)
    return bool(_REASONING.match(name)) and not _NOT_REASONING.search(name)


def effort(thinking: str, model: str) -> str | None:
    """Return the effort for a value of `thinking`; None is the model's default.

    A budget of tokens, which OpenAI does not have, becomes the nearest effort.
    """
    match thinking:
        case "auto":
            return None
        case _ if thinking in OFF:
            return _lowest_effort(model)
        case _ if not thinking.isdecimal():
            return thinking
        case _ if int(thinking) < _LOW_BUDGET:
            return "low"
        case _:
            return "medium" if int(thinking) < _MEDIUM_BUDGET else "high"


def _lowest_effort(model: str) -> str | None:
    if not reasons(model):
        return "none"
    name = _base_name(model)
    return next(
        (lowest for known, lowest in _LOWEST_EFFORTS if known.match(name)), "low"
    )


def _base_name(model: str) -> str:
    """Return `gpt-5` also for a router's `openai/gpt-5`."""
    return model.rsplit("/", 1)[-1]
