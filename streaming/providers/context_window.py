"""The context window of a model: the errors of a full one, and shorter histories."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from streaming.exceptions import ContextTooLong
from streaming.messages import Message, json_size, split_exchanges

#: The share of the window that a shortened history fills: sizes are estimates.
_MARGIN = 0.95
#: Smaller numbers in an error's text are no counts of tokens.
_MIN_TOKENS = 256

_CODES = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
        "request_too_large",
        "string_above_max_length",
    }
)
_WORDING = re.compile(
    r"context[ _-]?(length|window|size|limit)|maximum context|model_max_length|"
    r"(prompt|input|message|conversation|request|history|query)s?\b[^.]{0,60}"
    r"\b(too (long|large|big)|exceed)|"
    r"too many (input |prompt )?tokens|"
    r"(input|prompt|total)[ _]?(tokens?|length)[^.]{0,60}(exceed|maximum|limit|larger)|"
    r"exceed\w*[^.]{0,60}(context|tokens?\b|sequence length|input length)|"
    r"max(imum)?[ _]?(input|prompt|sequence|seq)[ _]?(length|len|tokens?)|"
    r"(reduce|shorten|truncate)[^.]{0,30}(length|prompt|input|messages|conversation)|"
    r"tokens[^.]{0,40}\b(exceed|greater|larger|more than)|"
    r"longer than the (model|context|maximum)",
    re.IGNORECASE,
)
#: A limit of the response alone, or of the rate, can be exceeded by a short request.
_OTHER_LIMIT = re.compile(
    r"max_(completion_|output_)?tokens[`'\"]?:? ?(is |are )?"
    r"(too (large|high)|must|\d+ >)|completion tokens|output tokens|"
    r"per (minute|day|hour)|rate limit",
    re.IGNORECASE,
)
_WINDOW = re.compile(r"context|prompt|input|messages", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.-])\d[\d,_]*(?![\w-])")


class Counts(NamedTuple):
    """The tokens of a request, and the most that the model accepts."""

    used: int
    limit: int


def is_too_long(text: str, codes: Sequence[str] = ()) -> bool:
    """Return True for the error of a request that exceeds the context window."""
    if _CODES.intersection(codes):
        return True
    if _OTHER_LIMIT.search(text) and not _WINDOW.search(text):
        return False
    return bool(_WORDING.search(text))


def too_long(text: str) -> ContextTooLong:
    """Return the error for a text of the provider, with its counts if it has any."""
    error = ContextTooLong()
    if counts := token_counts(text):
        error = ContextTooLong(
            f"The conversation is too long for the model: {counts.used:,} tokens, "
            f"and the model accepts {counts.limit:,}."
        )
    error.refusal = text
    return error


def token_counts(text: str) -> Counts | None:
    """Return the two counts that an error's text has; None unless it has them."""
    numbers = {int(re.sub("[,_]", "", n)) for n in _NUMBER.findall(text)}
    counts = sorted(n for n in numbers if n >= _MIN_TOKENS)
    return Counts(counts[-1], counts[-2]) if len(counts) > 1 else None


def shorten(messages: Sequence[Message], error: ContextTooLong) -> list[Message]:
    """Return the messages without the oldest exchanges, one or more.

    The newest exchange remains in any case; a history that has no other is returned
    whole. The counts of the error tell how much has to go, else half of it does.
    """
    exchanges = split_exchanges(messages)
    counts = token_counts(error.refusal)
    share = counts.limit / counts.used * _MARGIN if counts else 0.5
    sizes = [json_size(exchange) for exchange in exchanges]
    budget = sum(sizes) * share
    dropped = min(1, len(exchanges) - 1)
    while dropped < len(exchanges) - 1 and sum(sizes[dropped:]) > budget:
        dropped += 1
    return [message for exchange in exchanges[dropped:] for message in exchange]
