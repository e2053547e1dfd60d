"""The conversations that exist get their texts, a few in each transaction.

Servers may run meanwhile. After an interruption the migration continues.
"""

import time

from django.db import migrations, transaction

from streaming.storage import search
from streaming.storage.pauses import pause_after


def add_texts(apps, schema_editor):
    """Add the texts in batches."""
    alias = schema_editor.connection.alias
    after = 0
    while after is not None:
        started = time.monotonic()
        with transaction.atomic(alias):
            after = search.add_texts(apps, after, alias)
        time.sleep(pause_after(started))  # for the writes of running servers


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("streaming", "0005_conversation_texts"),
    ]

    operations = [
        migrations.RunPython(add_texts, migrations.RunPython.noop),
    ]
