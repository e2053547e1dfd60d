"""A search of logs for secrets: a key or password in a log is one that leaked.

    with LogSearch(lambda: {"SECRET_KEY": settings.SECRET_KEY}) as search:
        … log …
    assert search.leaks == []

API keys of this app are found by their form. `register` adds a secret that neither they
nor the settings are.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

#: A shorter value, such as `none`, occurs in texts that have nothing to do with it.
MIN_CHARS = 6
_SECRET_NAME = re.compile(r"(KEY|PASSWORD|SECRET|TOKEN)$")
_API_KEY = re.compile(r"(agk_[0-9a-f]{12}_)[\w-]{43}")
_registered: dict[str, str] = {}


def register(name: str, value: str) -> None:
    """Have later searches of this process find a secret; leaks give its name only."""
    _registered[name] = value


def of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets among environment variables: keys, and passwords in URLs."""
    found = {n: value for n, value in environment.items() if _SECRET_NAME.search(n)}
    passwords = {n: password_of(v) for n, v in environment.items() if "://" in v}
    return {name: value for name, value in (found | passwords).items() if value}


def password_of(url: str) -> str:
    """Return a URL's password; none if it is also the name of a user or a database."""
    try:
        parts = urlsplit(url)
        password = unquote(parts.password or "")
    except ValueError:
        return ""
    public = f"{parts.scheme} {parts.username} {parts.hostname} {parts.path}"
    return "" if password in public else password


def leaks_in(text: str, secrets: Mapping[str, str]) -> list[str]:
    """Return the names of the secrets that a text contains, registered ones too."""
    found = [
        name
        for name, value in {**_registered, **secrets}.items()
        if len(value) >= MIN_CHARS and value in text
    ]
    return found + [f"the API key {start}…" for start in _API_KEY.findall(text)]


class LogSearch(logging.Handler):
    """A handler of the root logger that searches all records for secrets.

    The message, its arguments, further fields and the texts of exceptions are searched.
    """

    def __init__(self, secrets: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self.leaks: list[str] = []
        self._secrets = secrets

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Add the secrets in a record to `leaks`, with the place of the call."""
        text = "\n".join(_texts(record))
        for name in leaks_in(text, self._secrets()):
            self.leaks.append(
                f"{name} in {record.name}, {record.pathname}:{record.lineno}"
            )


def _texts(record: logging.LogRecord) -> Iterator[str]:
    yield record.getMessage()
    yield from (repr(value) for value in vars(record).values())
    if record.exc_info:
        yield from _exception_texts(record.exc_info[1], set())


def _exception_texts(error: BaseException | None, seen: set[int]) -> Iterator[str]:
    """Yield the texts of an exception, of those that led to it and of a group's."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield from (str(error), repr(error), *getattr(error, "__notes__", ()))
    related = [error.__cause__, error.__context__]
    if isinstance(error, BaseExceptionGroup):
        related += error.exceptions
    for each in related:
        yield from _exception_texts(each, seen)
