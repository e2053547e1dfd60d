"""`manage.py index_conversations` completes the index for the search."""

import time

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from streaming.models import ConversationText
from streaming.storage import search
from streaming.storage.alias import app_alias
from streaming.storage.pauses import pause_after


class Command(BaseCommand):
    """Adds missing texts of conversations, and their index if that is missing."""

    help = (
        "Adds the texts of conversations that the search lacks, such as those begun by "
        "servers of an earlier version during an upgrade, and creates the index if it "
        "is missing because the database lacked FTS5 or pg_trgm. Servers may run "
        "meanwhile."
    )

    def handle(self, *args: object, **_: object) -> None:
        """Add what is missing, and report it."""
        alias = app_alias()
        before = ConversationText.objects.count()
        after: int | None = 0
        while after is not None:
            started = time.monotonic()
            with transaction.atomic(alias):
                after = search.add_texts(apps, after, alias)
            time.sleep(pause_after(started))  # for the writes of running servers
        added = ConversationText.objects.count() - before
        self.stdout.write(f"Conversations added: {added:,}")
        if search.has_index(alias):
            self.stdout.write("The index exists.")
        elif error := search.create_index(alias):
            raise CommandError(f"The database cannot have the index: {error}".rstrip())
        else:
            self.stdout.write("The index is created.")
