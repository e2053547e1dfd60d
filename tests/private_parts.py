"""The failure message of the contract tests of private parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest


@contextmanager
def relies_on(library: str, part: str, consequence: str) -> Iterator[None]:
    """Fail with the name of the part if the block fails."""
    try:
        yield
    except Exception as error:
        pytest.fail(
            f"{library} {version(library)}: {part} has changed. {consequence}"
            f" (docs/design/private-parts.md)\n{type(error).__name__}: {error}"
        )
