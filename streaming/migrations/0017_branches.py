"""Branches of conversations: parents of messages, and the heads of conversations.

The columns are added without a copy of the tables. Each index covers few rows.
"""

from django.db import migrations, models

from streaming.migrations._operations import AddColumn


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0016_pending_runs"),
    ]

    operations = [
        AddColumn(
            model_name="conversation",
            name="head",
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        AddColumn(
            model_name="conversation",
            name="is_branched",
            field=models.BooleanField(
                db_default=False, default=False, editable=False
            ),
        ),
        AddColumn(
            model_name="message",
            name="parent",
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        AddColumn(
            model_name="message",
            name="copied_from",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=64
            ),
        ),
        AddColumn(
            model_name="run",
            name="parent",
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        AddColumn(
            model_name="run",
            name="question",
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        AddColumn(
            model_name="run",
            name="previous_head",
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("parent__isnull", False)),
                fields=["conversation", "id"],
                name="message_branch_points",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("copied_from", ""), _negated=True),
                fields=["copied_from"],
                name="message_copies_of_user",
            ),
        ),
    ]
