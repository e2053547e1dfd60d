"""The context window of a model: the errors of a full one, and shorter histories."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from streaming.exceptions import ContextTooLong
from streaming.messages import Message, split_exchanges
from streaming.providers.refusals import sentences
from streaming.providers.token_estimate import message_tokens

#: Smaller numbers in an error's text are no counts of tokens.
_MIN_TOKENS = 256
#: The most characters that are searched for numbers.
_MAX_TEXT = 4_000
#: A window that an error states is believed between these.
_MIN_WINDOW = 512
_MAX_WINDOW = 20_000_000
#: Groups of exchanges whose tokens are estimated one by one: an estimate takes 10 µs.
_MAX_GROUPS = 200

_CODES = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "invalidparameter.oversizedtokens",
        "model_context_window_exceeded",
        "model_max_prompt_tokens_exceeded",
        "request_too_large",
    }
)
_WORDING = re.compile(
    r"context[ _-]?(length|window|size|limit)|maximum context|model_max_length|"
    r"(prompt|input|message|conversation|request|history|query)s?\b[^.]{0,60}"
    r"\b(too (long|large|big)|exceed)|"
    r"(prompt|input|context|request)_?too_?(long|large)|expected maxlength|"
    r"too many (input |prompt )?tokens|"
    r"(input|prompt|total)[ _]?(tokens?|length)[^.]{0,60}(exceed|maximum|limit|larger)|"
    r"exceed\w*[^.]{0,60}(context|tokens?\b|sequence length|input length)|"
    r"max(imum)?[ _]?(input|prompt|sequence|seq)[ _]?(length|len|tokens?)|"
    r"(reduce|shorten|truncate)[^.]{0,30}(length|prompt|input|messages|conversation)|"
    r"tokens[^.]{0,40}\b(exceed|greater|larger|more than)|"
    r"tokens?\b[^.]{0,40}\b(no more than|must be <=)|must have less than \d+ tokens|"
    r"token count (is|of) [\d,]+[^.]{0,30}only|"
    r"longer than the (model|context|maximum)|range of input length|"
    r"\b(messages|input|prompt|instructions)\b\S*: string too long|"
    r"(max|model) length exceeded",
    re.IGNORECASE,
)
#: The same in the languages of other vendors, gateways and translated messages.
_FOREIGN_WORDING = re.compile(
    r"(token|prompt|输入|上下文|长度|对话|消息)[^。]{0,30}"
    r"(超长|超过|超出|超限|过长|太长|上限|超過|過長|太長)|"
    r"(トークン|コンテキスト|入力|プロンプト)[^。]{0,40}(超|長すぎ)|"
    r"(토큰|컨텍스트|입력|프롬프트)[^.]{0,40}(초과|너무 (길|깁|긴))|"
    r"(eingabe|kontext|token|anfrage|nachricht)[^.]{0,60}"
    r"(zu (lang|groß)|überschr|übersteig)|"
    r"(contexte|jetons?|tokens?|entrée|message|requête)\b[^.]{0,60}(dépass|trop long)|"
    r"(contexto|contesto|tokens?|entrada|mensaje|mensagem|messaggio|solicitud)\b"
    r"[^.]{0,60}(supera|excede|demasiado larg|muito long|troppo lung)|"
    r"(токен|контекст|запрос|сообщени|длин)[^.]{0,60}(превыш|слишком)",
    re.IGNORECASE,
)
#: A limit of the response alone, or of the rate, can be exceeded by a short request.
_OTHER_LIMIT = re.compile(
    r"max_(completion_|output_)?tokens[`'\"]?:? ?(is |are |value|参数)?"
    r"(too (large|high)|must|\d+ >|,|非法)|completion tokens|output tokens|"
    r"per (minute|day|hour)|rate limit",
    re.IGNORECASE,
)
_WINDOW = re.compile(
    r"context (length|window|size|limit)|context\b|prompt|input|messages",
    re.IGNORECASE,
)
#: The prompt fills the window, which leaves nothing for the response.
_NO_ROOM = re.compile(r"max_tokens must be at least 1, got -", re.IGNORECASE)
#: One request is above a limit per minute, which no wait can change.
_ABOVE_RATE = re.compile(
    r"request too large|tokens must be reduced|reduce your message size", re.IGNORECASE
)
#: Lengths of other units than tokens, and codes of errors.
_CHARACTERS = re.compile(
    r"\d ?(char|byte)|input char|string (too|with)|maxlength", re.IGNORECASE
)
_ERROR_CODE = re.compile(
    r"(code|status)\w*[\\\"']*\W{0,3}\d{3,6}\b|<\d{3}>|\bHTTP\S* \d{3}\b",
    re.IGNORECASE,
)
#: Counts of tokens have few digits, and ASCII ones, as in `output_limits`.
_NUMBER = re.compile(r"(?<![\w.-])\d[\d,_]{0,14}(?![\w-])", re.ASCII)
_PARENTHESIZED = re.compile(r"\((\d+)\)", re.ASCII)
_LIMIT_WORDS = (
    r"n_ctx|max\w*|limit|only|up to|at most|no more than|should be|accepts|window of|"
    r"(?:less|greater|longer|larger) than|exceeds?(?! limit)|[<>]=?|上限|最大"
)
#: The upper end of a range, or the number beside the words of a limit. A difference
#: ("exceeded by 1200 tokens") is none.
_STATED = re.compile(
    r"\[\d+, ?(\d[\d,_]{0,14})\]|"
    rf"(?:{_LIMIT_WORDS})[^.\d\[]{{0,60}}?"
    r"(?<!by )(?<![\w.-])(\d[\d,_]{0,14})(?![\w-])(?! *\+)|"
    r"(\d[\d,_]{0,14}) (?:token )?(?:limit|max\w*)\b",
    re.IGNORECASE | re.ASCII,
)
#: A number after the name of a length, where no words of a limit are.
_NAMED = re.compile(
    r"(?:(?:context|model|sequence|session|input|prompt|truncation)[ _-]?"
    r"(?:length|size|window|len))\b[^.\d]{0,40}(?<!by )(?<!\d)(\d[\d,_]{0,14})"
    r"(?! *\+)\b",
    re.IGNORECASE | re.ASCII,
)


class Counts(NamedTuple):
    """The tokens of a request, and the most that the model accepts."""

    used: int
    limit: int


def is_too_long(text: str, codes: Sequence[str] = ()) -> bool:
    """Return True for the error of a request that exceeds the context window."""
    text = sentences(text)
    if _CODES.intersection(codes) or _NO_ROOM.search(text) or is_above_rate(text):
        return True
    if _OTHER_LIMIT.search(text) and not _WINDOW.search(text):
        return False
    return bool(_WORDING.search(text) or _FOREIGN_WORDING.search(text))


def is_above_rate(text: str) -> bool:
    """Return True if one request alone has more tokens than a minute may have."""
    return bool(_ABOVE_RATE.search(text))


def too_long(text: str) -> ContextTooLong:
    """Return the error for a text of the provider, with its counts if it has any."""
    counts = token_counts(text)
    error = counted_error(counts) if counts else ContextTooLong()
    error.refusal = text
    return error


def counted_error(counts: Counts) -> ContextTooLong:
    """Return the error of a request that has more tokens than the model accepts."""
    return ContextTooLong(
        f"The conversation is too long for the model: {counts.used:,} tokens, and the "
        f"model accepts {counts.limit:,}."
    )


def token_counts(text: str) -> Counts | None:
    """Return the two counts that an error's text has; None unless it has them."""
    numbers = _numbers(text)
    if not (limit := stated_window(text)):
        return None
    smaller = sum(number for number in numbers if number < limit)
    used = max(numbers) if max(numbers) > limit else smaller
    return Counts(used, limit) if used > limit else None


def stated_window(text: str) -> int:
    """Return the context window that an error's text states; 0 if it states none.

    A request is refused because it is longer: the window is the number after the words
    of a limit that another number of the text exceeds, or the only number. In an
    unknown language it is the smaller one of two numbers.
    """
    numbers = _numbers(text)
    text = _ERROR_CODE.sub(" ", text[:_MAX_TEXT])
    found = _STATED.findall(text)
    named = _NAMED.findall(text) if not any(map(_value, found)) else []
    stated = [n for n in map(_value, [*found, *named]) if n in numbers]
    exceeded = [n for n in stated if max(numbers) > n]
    if not exceeded and {str(n) for n in stated} & {*_PARENTHESIZED.findall(text)}:
        return 0  # it may be the code of the error
    if not stated and len(numbers) == 2:
        return min(numbers)
    window = next(iter([*exceeded, *stated]), 0)
    return window if window >= _MIN_WINDOW else 0


def _numbers(text: str) -> set[int]:
    """Return the numbers that may be counts of tokens."""
    if _CHARACTERS.search(text):
        return set()
    found = {_value(n) for n in _NUMBER.findall(_ERROR_CODE.sub(" ", text[:_MAX_TEXT]))}
    return {n for n in found if _MIN_TOKENS <= n <= _MAX_WINDOW}


def _value(number: str | tuple[str, ...]) -> int:
    text = number if isinstance(number, str) else "".join(number)
    return int(re.sub("[,_]", "", text)[:12] or 0)


def shorten(messages: Sequence[Message], share: float) -> list[Message]:
    """Return the messages without the oldest exchanges, one or more.

    At most `share` of the tokens remain, but the newest exchange in any case: a history
    that has no other is returned whole. Of very many exchanges, several are left out
    together.
    """
    *older, newest = split_exchanges(messages)
    together = len(older) // _MAX_GROUPS + 1
    groups = [
        list(chain.from_iterable(older[start : start + together]))
        for start in range(0, len(older), together)
    ]
    sizes = [message_tokens(group) for group in groups]
    left = sum(sizes) + message_tokens(newest)
    budget = left * share
    dropped = 0
    for size in sizes:
        if dropped and left <= budget:
            break
        left -= size
        dropped += 1
    return [*chain.from_iterable(groups[dropped:]), *newest]
