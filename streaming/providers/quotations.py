"""The quotations of a conversation in a server's error.

Some servers repeat in an error what they were sent. A text that a user or a tool wrote
must not teach the process the reason of a refusal: it would hold for all users.
"""

import asyncio
import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from streaming.messages import Message, TextPart, ToolCallPart, ToolResultPart

#: The number of words in sequence that make a quotation. A shorter text of the
#: conversation is quoted if it occurs as a whole.
_RUN = 3

#: Characters of a conversation that are searched at once: other runs wait for them.
_PIECE = 20_000
#: Characters that two pieces of a text share, so that no quotation is lost between.
_OVERLAP = 500

_WORD = re.compile(r"\w+", re.ASCII)
#: Escapes of JSON and Python, whose letters are no words. A search begins only at the
#: first backslash of several.
_ESCAPE = re.compile(r"(?<!\\)\\+(u[0-9a-f]{4}|x[0-9a-f]{2}|[nrt])", re.IGNORECASE)
#: Escapes of HTML for no character. Python refuses numbers with thousands of digits.
_NO_CHARACTER = re.compile(r"&#\d{8,}")

Run = tuple[str, ...]


async def without_quotations(refusal: str, messages: Sequence[Message]) -> str:
    """Return an error's text without the words that it quotes from a conversation.

    In JSON only the texts change, and of these not the paths in `param` and `loc`.
    Other tasks run meanwhile: a conversation may have millions of characters.
    """
    quoted = await _quoted_runs(refusal, messages)
    return _cleaned_text(refusal, quoted) if quoted else refusal


async def _quoted_runs(refusal: str, messages: Sequence[Message]) -> set[Run]:
    words = _words(refusal)
    candidates = {run for length in range(1, _RUN + 1) for run in _runs(words, length)}
    quoted: set[Run] = set()
    searched = 0
    for text in _texts(messages):
        for start in range(0, max(len(text) - _OVERLAP, 1), _PIECE - _OVERLAP):
            theirs = _words(text[start : start + _PIECE])
            if theirs:
                runs = _runs(theirs, min(len(theirs), _RUN))
                quoted |= candidates.intersection(runs)
            searched += min(len(text), _PIECE) + _OVERLAP
            if searched > _PIECE:
                searched = 0
                await asyncio.sleep(0)  # for the other runs of this event loop
    return quoted


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    """Yield the texts that users, tools and the model have written."""
    for message in messages:
        for part in message.parts:
            match part:
                case TextPart(text) | ToolResultPart(result=text):
                    yield text
                case ToolCallPart(arguments=arguments):
                    yield arguments


def _words(text: str) -> list[str]:
    return _WORD.findall(_plain(text).lower())


def _plain(text: str) -> str:
    return _ESCAPE.sub(" ", html.unescape(_NO_CHARACTER.sub(" ", text)))


def _runs(words: Sequence[str], length: int) -> Iterable[Run]:
    """Return all sequences of `length` words."""
    return zip(*(words[start:] for start in range(length)), strict=False)


def _cleaned_text(text: str, quoted: set[Run]) -> str:
    """Return a text, or the JSON that it holds, without the quoted words."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(_cleaned(json.loads(text), quoted), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass  # it was cut off
    plain = _plain(text)
    found = list(_WORD.finditer(plain))
    words = [match[0].lower() for match in found]
    left = list(plain)
    for length in range(1, _RUN + 1):
        for start, run in enumerate(_runs(words, length)):
            if run in quoted:
                first, last = found[start].start(), found[start + length - 1].end()
                left[first:last] = " " * (last - first)
    return "".join(left)


def _cleaned(value: object, quoted: set[Run]) -> object:
    match value:
        case str():
            return _cleaned_text(value, quoted)
        case list():
            return [_cleaned(item, quoted) for item in value]
        case dict():
            return {
                key: item if key in ("param", "loc") else _cleaned(item, quoted)
                for key, item in value.items()
            }
    return value
