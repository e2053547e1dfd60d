"""How a model is told to think, which differs with its version.

| models           | form                          | "off"                          |
|------------------|-------------------------------|--------------------------------|
| before 3.7       | none                          | as ever                        |
| 3.7 to 4.5       | `enabled`, a budget of tokens | nothing sent                   |
| 4.6 to 4.x       | `adaptive`, an effort         | nothing sent                   |
| 5 and newer      | `adaptive`, an effort         | `disabled`, or what is nearest |
| of other vendors | a budget, when asked for      | nothing sent                   |
"""

import re
from typing import Any, NamedTuple

DEFAULT_MODEL = "claude-sonnet-5-5"

#: The least that the API takes for a budget; we leave as much for the answer.
MIN_BUDGET = 1024

_BUDGET_SINCE = (3, 7)
_ADAPTIVE_SINCE = (4, 6)
_THINKS_UNASKED_SINCE = (5, 0)
_BOUND_SINCE = (5, 1)

_NEWEST = (99, 0)

#: The first version of a family that refuses `disabled`; others always did.
_DISABLED_UNTIL = {"opus": (5, 5), "sonnet": (5, 5), "haiku": (100, 0)}

#: The share of `max_tokens` that an effort may think, for models that want a budget.
_SHARES = {"auto": 0.5, "low": 0.25, "medium": 0.5, "high": 0.75}

#: The budgets below which "low" and "medium" come nearest, for those that want none.
_NEAREST = ((2048, "low"), (8192, "medium"))

_INTERLEAVED = {"anthropic-beta": "interleaved-thinking-2025-05-14"}
_BINDING_CONTROLS = {"anthropic-beta": "thinking-binding-controls-2026-08-01"}

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d)(?:[-.](\d{1,2})(?!\d))?")

Fields = dict[str, Any]


class _Model(NamedTuple):
    family: str
    version: tuple[int, int]


def thinking_fields(model: str, thinking: str, max_tokens: int) -> Fields:
    """The request's fields that depend on thinking, `max_tokens` among them."""
    fields: Fields = {"max_tokens": max_tokens}
    known = _parse(model)
    if known is None:
        asked = thinking not in ("auto", "off", "0")
        return fields | (_budget(thinking, max_tokens) if asked else {})
    if thinking in ("off", "0"):
        return fields | _off(known)
    if known.version >= _ADAPTIVE_SINCE:
        return fields | _adaptive(known, thinking)
    if known.version >= _BUDGET_SINCE:
        return fields | _budget(thinking, max_tokens)
    return fields


def _parse(model: str) -> _Model | None:
    """The model's family and version; None for a model that is not Anthropic's."""
    if "claude" not in model:
        return None
    family = re.search("opus|sonnet|haiku|fable|mythos", model)
    version = _VERSION.search(model)
    return _Model(
        family[0] if family else "",
        (int(version[1]), int(version[2] or 0)) if version else _NEWEST,
    )


def _adaptive(model: _Model, thinking: str) -> Fields:
    how: Fields = {"type": "adaptive", "display": "summarized"}
    fields: Fields = {"thinking": how}
    if model.version >= _BOUND_SINCE:
        # Else a changed system prompt or tool, or a trimmed history, would fail the
        # request: what these models thought is valid only after what was before it.
        how["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
        fields["extra_headers"] = _BINDING_CONTROLS
    if thinking != "auto":
        effort = _nearest_effort(thinking) if thinking.isdecimal() else thinking
        fields["output_config"] = {"effort": effort}
    return fields


def _budget(thinking: str, max_tokens: int) -> Fields:
    share = _SHARES.get(thinking)
    asked = int(thinking) if share is None else int(max_tokens * share)
    budget = max(asked, MIN_BUDGET)
    return {
        "max_tokens": max(max_tokens, budget + MIN_BUDGET),
        "thinking": {"type": "enabled", "budget_tokens": budget},
        "extra_headers": _INTERLEAVED,
    }


def _off(model: _Model) -> Fields:
    if model.version < _THINKS_UNASKED_SINCE:
        return {}
    if model.version < _DISABLED_UNTIL.get(model.family, _THINKS_UNASKED_SINCE):
        return {"thinking": {"type": "disabled"}}
    if model.family == "sonnet":
        return {"thinking": {"type": "between_tools"}}
    return {"output_config": {"effort": "low"}}  # they think always: let it be little


def _nearest_effort(budget: str) -> str:
    return next((effort for below, effort in _NEAREST if int(budget) < below), "high")
