"""The request fields that control thinking, which differ by model version.

| models           | form                          | "off"                          |
|------------------|-------------------------------|--------------------------------|
| before 3.7       | none                          | nothing sent                   |
| 3.7 to 4.5       | `enabled`, a budget of tokens | nothing sent                   |
| 4.6 to 4.x       | `adaptive`, an effort         | nothing sent                   |
| 5 and newer      | `adaptive`, an effort         | `disabled`, or the nearest     |
| of other vendors | a budget, if requested        | nothing sent                   |
"""

import re
from typing import Any, NamedTuple

DEFAULT_MODEL = "claude-sonnet-5-5"

#: The smallest budget that the API accepts. As many tokens remain for the response.
MIN_BUDGET = 1024

_BUDGET_SINCE = (3, 7)
_ADAPTIVE_SINCE = (4, 6)
_THINKS_BY_DEFAULT_SINCE = (5, 0)
_BLOCK_BINDING_SINCE = (5, 1)

_NEWEST = (99, 0)

#: The first version of a family that rejects `disabled`; other families always do.
_DISABLED_UNTIL = {"opus": (5, 5), "sonnet": (5, 5), "haiku": (100, 0)}

#: The share of `max_tokens` for thinking by effort, for models that need a budget.
_SHARES = {"auto": 0.5, "low": 0.25, "medium": 0.5, "high": 0.75}

#: The budgets below which an effort is the nearest, for models that take an effort.
_NEAREST_EFFORTS = ((2048, "low"), (8192, "medium"))

_INTERLEAVED = {"anthropic-beta": "interleaved-thinking-2025-05-14"}
_BINDING_CONTROLS = {"anthropic-beta": "thinking-binding-controls-2026-08-01"}

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d)(?:[-.](\d{1,2})(?!\d))?")

Fields = dict[str, Any]


class _Model(NamedTuple):
    family: str
    version: tuple[int, int]


def thinking_fields(model: str, thinking: str, max_tokens: int) -> Fields:
    """Return the request's fields that depend on thinking, including `max_tokens`."""
    fields: Fields = {"max_tokens": max_tokens}
    known = _parse(model)
    if known is None:
        requested = thinking not in ("auto", "off", "0")
        return fields | (_budget(thinking, max_tokens) if requested else {})
    if thinking in ("off", "0"):
        return fields | _off(known)
    if known.version >= _ADAPTIVE_SINCE:
        return fields | _adaptive(known, thinking)
    if known.version >= _BUDGET_SINCE:
        return fields | _budget(thinking, max_tokens)
    return fields


def is_claude(model: str) -> bool:
    """Return True for a model of Anthropic's, on any server."""
    return "claude" in model


def _parse(model: str) -> _Model | None:
    """Return a model's family and version; None if it is not Anthropic's."""
    if not is_claude(model):
        return None
    family = re.search("opus|sonnet|haiku|fable|mythos", model)
    version = _VERSION.search(model)
    return _Model(
        family[0] if family else "",
        (int(version[1]), int(version[2] or 0)) if version else _NEWEST,
    )


def _adaptive(model: _Model, thinking: str) -> Fields:
    adaptive: Fields = {"type": "adaptive", "display": "summarized"}
    fields: Fields = {"thinking": adaptive}
    if model.version >= _BLOCK_BINDING_SINCE:
        # Thinking of these models is valid only after the content that preceded it.
        # Without this option a changed system prompt or tool, or a shortened history,
        # would fail the request.
        adaptive["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
        fields["extra_headers"] = _BINDING_CONTROLS
    if thinking != "auto":
        effort = thinking
        if thinking.isdecimal():
            efforts = (
                name for limit, name in _NEAREST_EFFORTS if int(thinking) < limit
            )
            effort = next(efforts, "high")
        fields["output_config"] = {"effort": effort}
    return fields


def _budget(thinking: str, max_tokens: int) -> Fields:
    share = _SHARES.get(thinking)
    requested = int(thinking) if share is None else int(max_tokens * share)
    budget = max(requested, MIN_BUDGET)
    return {
        "max_tokens": max(max_tokens, budget + MIN_BUDGET),
        "thinking": {"type": "enabled", "budget_tokens": budget},
        "extra_headers": _INTERLEAVED,
    }


def _off(model: _Model) -> Fields:
    if model.version < _THINKS_BY_DEFAULT_SINCE:
        return {}
    if model.version < _DISABLED_UNTIL.get(model.family, _THINKS_BY_DEFAULT_SINCE):
        return {"thinking": {"type": "disabled"}}
    if model.family == "sonnet":
        return {"thinking": {"type": "between_tools"}}
    return {"output_config": {"effort": "low"}}  # these always think: reduce it
