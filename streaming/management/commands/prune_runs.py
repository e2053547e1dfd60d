"""`manage.py prune_runs` removes expired data by the settings, or by its options."""

import asyncio
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from streaming import conf
from streaming.runs import retention
from streaming.runs.idempotency import expired_keys
from streaming.runs.maintenance import days_ago, prune
from streaming.storage import database

#: The verb for each kind of row: before, and after.
VERBS = {
    "idempotency_keys": ("to release", "released"),
    "conversations": ("to delete", "deleted"),
    "event_logs": ("to remove", "removed"),
    "audit_records": ("to remove", "removed"),
}


class Command(BaseCommand):
    """Removes event logs, conversations, idempotency keys and audit records."""

    help = (
        "Removes the event logs of runs that ended long ago (the runs and their "
        "messages stay), forgets conversations that have been unused for long, and "
        "frees idempotency keys older than a day, and removes old records of the audit "
        "log (AUDIT_RETENTION_DAYS). Servers may run meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options; the days default to the settings."""
        options = conf.get()
        parser.add_argument(
            "--days",
            type=int,
            default=options.run_retention_days,
            help="days to keep event logs after the end of their run; 0: for ever "
            "(default: RUN_RETENTION_DAYS, %(default)s)",
        )
        parser.add_argument(
            "--conversations",
            type=int,
            metavar="DAYS",
            default=options.conversation_retention_days,
            help="days to keep conversations after their last use; 0: for ever "
            "(default: CONVERSATION_RETENTION_DAYS, %(default)s)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only count the rows to remove"
        )

    def handle(
        self, *args: object, days: int, conversations: int, dry_run: bool, **_: object
    ) -> None:
        """Prune, and report the number of removed rows."""
        if days < 0 or conversations < 0:
            raise CommandError("Days cannot be negative.")
        if dry_run:
            self._write_counts(_count(days, conversations), 0)
        else:
            self._write_counts(asyncio.run(_prune(days, conversations)), 1)

    def _write_counts(self, counts: dict[str, int], done: int) -> None:
        for name, count in counts.items():
            label = name.replace("_", " ").capitalize()
            self.stdout.write(f"{label} {VERBS[name][done]}: {count:,}")
        if not {"event_logs", "conversations"} & counts.keys():
            self.stdout.write(
                "Event logs and conversations are kept for ever: see --days and "
                "--conversations."
            )


async def _prune(days: int, conversations: int) -> dict[str, int]:
    try:
        audit_days = conf.get().audit_retention_days
        return await prune(database.default, days, conversations, audit_days)
    finally:
        database.close()


def _count(days: int, conversations: int) -> dict[str, int]:
    counts = {"idempotency_keys": expired_keys().count()}
    if conversations:
        unused = retention.conversations_unused_since(days_ago(conversations))
        counts["conversations"] = unused.count()
    if days:
        logs = retention.logs_ended_before(days_ago(days))
        counts["event_logs"] = logs.count()
    if audit_days := conf.get().audit_retention_days:
        records = retention.audit_records_before(days_ago(audit_days))
        counts["audit_records"] = records.count()
    return counts
