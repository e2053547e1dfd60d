"""`manage.py export_data` writes all data of an organization or user as JSON lines."""

import os
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from django.core.management.base import BaseCommand, CommandError

from streaming import audit
from streaming.management.selections import add_selection, find_selection
from streaming.personal_data.export import export_lines


class Command(BaseCommand):
    """Exports data to the standard output, or to a file that only its owner reads."""

    help = (
        "Writes everything that is stored of an organization, or of a user in it: "
        "conversations, messages, runs, event logs, API keys without their hashes, and "
        "audit records. One line of JSON for each row; the last line counts them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the selection and the file."""
        add_selection(parser)
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help="a file, which is replaced when the export is complete and which only "
            "you can read (default: the standard output)",
        )

    def handle(
        self, *, organization: str, user: str | None, output: Path | None, **_: object
    ) -> None:
        """Export the rows, and record it."""
        chosen = find_selection(organization, user)
        lines = export_lines(chosen)
        if output:
            _write_file(output, lines)
        else:
            for line in lines:
                self.stdout.write(line.decode(), ending="")
        audit.record(
            "data.exported",
            actor=audit.COMMAND,
            target=audit.user_name(user) if user else f"organization:{organization}",
            org_id=organization,
        )


def _write_file(path: Path, lines: Iterable[bytes]) -> None:
    try:
        with _replaced(path) as file:
            file.writelines(lines)
    except OSError as error:
        raise CommandError(f"--output {path}: {error.strerror}") from None


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside `path` that takes its place when the block has ended."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
