"""The causes for which OpenAI and compatible servers refuse requests.

Each is a name for what changes in the request once it is learned.
"""

from collections.abc import Set as AbstractSet

from streaming.providers.base import ModelRequest
from streaming.providers.output import NO_SCHEMA, REFUSED_SCHEMA
from streaming.providers.refusals import ALTERNATING, OMIT, Body, cause

EARLIER_OPAQUE = "opaque parts of earlier exchanges"
ALL_OPAQUE = "opaque parts"
CALLS_AS_TEXT = "tool calls of earlier exchanges as text"
DEVELOPER = "role developer"
NO_SYSTEM = "no role for the system prompt"
REASONING_EVERYWHERE = "reasoning in each message"
NO_REASONING = "no reasoning in messages"
NO_TOOLS = "no tools"
TOOLS_OMITTED = "no tools in the last iteration"
TOOLS_DESCRIBED = "tools in the last iteration"
SIMPLE_SCHEMAS = "simple schemas"
NO_NULL = "text in each message"

_REASONING = (
    r"\breasoning(_content)?\b(?!\.\w|[`'\"]* (effort|model|token|item|summar))"
)
_OPAQUE = (
    r"signature|encrypted|decrypt|extra_content|reasoning_details|"
    r"(cannot|can't|could not|not|failed to) (be )?verif|"
    r"reasoning[` '\"]* (item|was provided|is missing)|item [`'\"]?rs_|\brs_\w+"
)


def _messages(body: Body) -> list[dict[str, object]]:
    found = body.get("messages") or body.get("input") or []
    return [each for each in found if isinstance(each, dict)]


def _has_reasoning(body: Body) -> bool:
    return any(
        message.get("reasoning_content") or message.get("reasoning")
        for message in _messages(body)
    )


def _lacks_reasoning(body: Body) -> bool:
    return any(
        message.get("role") == "assistant" and not message.get("reasoning_content")
        for message in _messages(body)
    )


def _has_opaque(body: Body) -> bool:
    return any(_is_opaque(each) for each in _messages(body))


def _is_opaque(item: dict[str, object]) -> bool:
    plain = {"role", "content", "tool_calls", "tool_call_id", "name", "type", "call_id"}
    plain |= {"output", "arguments", "phase", "reasoning_content", "reasoning"}
    if set(item) - plain:
        return True
    calls = item.get("tool_calls")
    return isinstance(calls, list) and any(
        set(call) - {"id", "type", "function"}
        or set(call["function"]) - {"name", "arguments"}
        for call in calls
    )


def _earlier(body: Body) -> list[dict[str, object]]:
    """Return the messages before the newest question."""
    messages = _messages(body)
    questions = [n for n, each in enumerate(messages) if each.get("role") == "user"]
    return messages[: max(questions, default=0)]


def _has_earlier_opaque(body: Body) -> bool:
    return any(_is_opaque(each) for each in _earlier(body))


def _has_earlier_calls(body: Body) -> bool:
    return any(
        each.get("tool_calls") or each.get("type") == "function_call"
        for each in _earlier(body)
    )


def _has_role(role: str, body: Body) -> bool:
    return any(each.get("role") == role for each in _messages(body))


def _has_results(body: Body) -> bool:
    return _has_role("tool", body) or any(
        each.get("type") == "function_call_output" for each in _messages(body)
    )


def _has_tools(body: Body) -> bool:
    return bool(body.get("tools"))


def _has_calls_only(body: Body) -> bool:
    uses = any(
        each.get("tool_calls") or each.get("type") == "function_call"
        for each in _messages(body)
    )
    return uses and not body.get("tools")


def _must_not_call(body: Body) -> bool:
    return body.get("tool_choice") == "none"


_REQUIRED = r"must be (passed|included|provided|present|sent|set|returned|non)|missing|"
_REQUIRED += r"required|passed back|expected|must (have|include|contain)"

_UNSIGNED = (
    r"(missing|required?|must)\b[^.]{0,60}signature|"
    r"signature\b[^.]{0,60}(missing|required|must|not (set|provided|found|present))"
)

KNOWN = (
    cause(
        NO_SCHEMA,
        REFUSED_SCHEMA,
        lambda body: "response_format" in body or "text" in body,
    ),
    cause(CALLS_AS_TEXT, _UNSIGNED, _has_earlier_calls),
    cause(EARLIER_OPAQUE, _OPAQUE, _has_earlier_opaque),
    cause(ALL_OPAQUE, _OPAQUE, _has_opaque),
    cause(
        REASONING_EVERYWHERE,
        rf"{_REASONING}.{{0,200}}({_REQUIRED})|({_REQUIRED}).{{0,200}}{_REASONING}",
        _lacks_reasoning,
        replaces=NO_REASONING,
    ),
    cause(NO_REASONING, _REASONING, _has_reasoning, replaces=REASONING_EVERYWHERE),
    cause(
        TOOLS_OMITTED,
        r"tool_use_failed|tool[_ ]choice.{0,200}\bnone\b",
        _must_not_call,
        replaces=TOOLS_DESCRIBED,
    ),
    cause(
        TOOLS_DESCRIBED,
        r"tools?(\b|config).{0,200}(must|required|missing|specif|defin|expect)|"
        r"(expects?|without|requires?)\b.{0,200}\btools?\b",
        _has_calls_only,
        replaces=TOOLS_OMITTED,
    ),
    cause(
        NO_TOOLS,
        r"(not|n't) support[^.]{0,30}(?<!parallel )(tools?|functions?)\b|"
        r"support[^.]{0,20}tool use|"
        r"(?<!parallel )(tools?|functions?|function calling|tool use)\b(?! with)"
        r"[^.]{0,30}not (supported|available|enabled)|"
        # Of servers that were started without a parser for tool calls.
        r"tool[- ]call-parser|tools? param requires|"
        r"不支持[^。]{0,12}(工具|函数|function|tool)|"
        r"role[`'\"]*:?[^.]{0,40}\btool\b|\btool\b[`'\"]* role",
        lambda body: _has_tools(body) or _has_results(body),
    ),
    cause(NO_TOOLS, ALTERNATING, _has_results),
    cause(
        DEVELOPER,
        r"\bsystem\b.{0,200}\bdeveloper\b",
        lambda body: _has_role("system", body),
    ),
    cause(
        NO_SYSTEM,
        r"system[`'\"]* (role|message|prompt|instruction)|developer (role|message)|"
        r"role[`'\"]*:?[^.]{0,40}\b(system|developer)\b|"
        r"\b(system|developer)\b[`'\"]*[^.]{0,40}\brole|"
        r"instructions?[`'\"]* (is|are) not",
        lambda body: _has_role("system", body) or _has_role("developer", body),
    ),
    cause(
        f"{OMIT}reasoning_effort",
        r"\bthink(ing)?[_ ](budget|level|value)|support thinking|"
        r"reasoning is mandatory",
        lambda body: "reasoning_effort" in body,
    ),
    cause(
        f"{OMIT}max_tokens",
        r"in the completion",
        lambda body: "max_tokens" in body,
    ),
    cause(
        f"{OMIT}max_completion_tokens",
        r"in the completion",
        lambda body: "max_completion_tokens" in body,
    ),
    cause(
        NO_SCHEMA,
        r"[`'\"]text\b|(?m:^text$)",
        lambda body: "text" in body,
        is_last_resort=True,
    ),
    cause(
        NO_NULL,
        r"content\b.{0,200}(null|none|string|required|empty|missing)",
        lambda body: any(each.get("content", "") is None for each in _messages(body)),
        is_last_resort=True,
    ),
    cause(
        SIMPLE_SCHEMAS,
        r"schema|function_declarations|function parameters|grammar|\btools?\[",
        _has_tools,
        is_last_resort=True,
    ),
)


def are_described(
    request: ModelRequest, at_openai: bool, learned: AbstractSet[str]
) -> bool:
    """Return True if a request describes the tools."""
    if NO_TOOLS in learned or request.allow_tools:
        return NO_TOOLS not in learned
    refused = {TOOLS_OMITTED, f"{OMIT}tool_choice"}
    return (at_openai or TOOLS_DESCRIBED in learned) and not refused & learned
