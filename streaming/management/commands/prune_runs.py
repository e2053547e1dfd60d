"""`manage.py prune_runs`: remove now what the settings keep no longer, or what the
options say."""

import asyncio
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from streaming import conf
from streaming.runs import retention
from streaming.runs.maintenance import days_ago, prune
from streaming.storage import database

#: What is done with each: before, and after.
VERBS = {
    "idempotency_keys": ("to free", "freed"),
    "conversations": ("to forget", "forgotten"),
    "event_logs": ("to remove", "removed"),
}


class Command(BaseCommand):
    """Removes event logs, conversations and idempotency keys, a few at a time."""

    help = (
        "Removes the event logs of runs that ended long ago (the runs and what was "
        "said stay), forgets conversations that nobody has used for long, and frees "
        "idempotency keys older than a day. Servers may run meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The days default to the settings."""
        options = conf.get()
        parser.add_argument(
            "--days",
            type=int,
            default=options.run_retention_days,
            help="keep event logs so long after their run's end; 0: for ever "
            "(default: RUN_RETENTION_DAYS, %(default)s)",
        )
        parser.add_argument(
            "--conversations",
            type=int,
            metavar="DAYS",
            default=options.conversation_retention_days,
            help="keep conversations so long after their last use; 0: for ever "
            "(default: CONVERSATION_RETENTION_DAYS, %(default)s)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would be removed"
        )

    def handle(
        self, *args: object, days: int, conversations: int, dry_run: bool, **_: object
    ) -> None:
        """Prune, and say what was removed."""
        if days < 0 or conversations < 0:
            raise CommandError("Days cannot be negative.")
        if dry_run:
            self._tell(_count(days, conversations), 0)
        else:
            self._tell(asyncio.run(_prune(days, conversations)), 1)

    def _tell(self, counts: dict[str, int], done: int) -> None:
        for name, count in counts.items():
            what = name.replace("_", " ").capitalize()
            self.stdout.write(f"{what} {VERBS[name][done]}: {count:,}")
        if not {"event_logs", "conversations"} & counts.keys():
            self.stdout.write(
                "Event logs and conversations are kept for ever: see --days and "
                "--conversations."
            )


async def _prune(days: int, conversations: int) -> dict[str, int]:
    try:
        return await prune(database.default, days, conversations)
    finally:
        database.close()


def _count(days: int, conversations: int) -> dict[str, int]:
    keys = retention.spent_idempotency_keys()
    counts = {"idempotency_keys": keys.count()}
    if conversations:
        unused = retention.conversations_unused_since(days_ago(conversations))
        counts["conversations"] = unused.count()
    if days:
        logs = retention.logs_ended_before(days_ago(days))
        counts["event_logs"] = logs.count()
    return counts
