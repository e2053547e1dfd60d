"""`manage.py erase_data` erases all data of an organization or user."""

import asyncio
from argparse import ArgumentParser
from collections.abc import Callable

from django.core.management.base import BaseCommand, CommandError

from streaming import audit
from streaming.management.selections import add_selection, find_selection
from streaming.personal_data import erasure
from streaming.personal_data.erasure import Counts, StillInUse, count_rows
from streaming.personal_data.selection import Selection
from streaming.storage import database


class Command(BaseCommand):
    """Erases data after a question, in transactions that are short."""

    help = (
        "Erases everything that is stored of an organization, or of a user in it: "
        "conversations, messages, runs, event logs, search texts and API keys. Active "
        "runs are cancelled first. Servers may run meanwhile; an interrupted erasure "
        "is completed by the same command. A record without personal data is left."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the selection and the answer to the question."""
        add_selection(parser)
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(
        self, *, organization: str, user: str | None, yes: bool, **_: object
    ) -> None:
        """Ask, erase, and report the numbers of rows."""
        chosen = find_selection(organization, user)
        if not yes and not self._confirm(chosen):
            raise CommandError("Nothing was erased.")
        try:
            counts = asyncio.run(_erase(chosen, self.stderr.write))
        except StillInUse:
            raise CommandError(
                "New runs are started again and again: prevent it, and repeat this."
            ) from None
        self._write_counts(counts)

    def _confirm(self, chosen: Selection) -> bool:
        self._write_counts(count_rows(chosen))
        name = chosen.organization.org_id
        whole = f"user {chosen.user} in {name}" if chosen.user else f"all of {name}"
        try:
            answer = input(
                f"Erase these rows ({whole})? They cannot be restored. yes/no: "
            )
        except EOFError:  # no terminal
            raise CommandError("Without a terminal, --yes is needed.") from None
        return answer.strip().lower() == "yes"

    def _write_counts(self, counts: Counts) -> None:
        for name, count in counts.items():
            self.stdout.write(f"{name.replace('_', ' ').capitalize()}: {count:,}")


async def _erase(chosen: Selection, report: Callable[[str], object]) -> Counts:
    try:
        return await erasure.erase(
            database.default, chosen, audit.COMMAND, report=report
        )
    finally:
        database.close()
