"""Each conversation has a short text in which it is found, and the texts an index.

The index needs FTS5 (SQLite) or pg_trgm (PostgreSQL). Where the database lacks it, the
search works without an index, and `manage.py index_conversations` creates it later.
"""

import django.db.models.deletion
from django.db import migrations, models

from streaming.storage import search


def create_index(apps, schema_editor):
    """Create the index over the empty table."""
    if error := search.create_index(schema_editor.connection.alias):
        print(f"\n    No index for the search, which will be slower: {error}".rstrip())


def drop_index(apps, schema_editor):
    """Drop the index, if it exists."""
    search.drop_index(schema_editor.connection.alias)


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0004_queued_runs_and_attempts"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConversationText",
            fields=[
                (
                    "conversation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="search",
                        serialize=False,
                        to="streaming.conversation",
                    ),
                ),
                ("text", models.TextField()),
            ],
        ),
        migrations.RunPython(create_index, drop_index),
    ]
