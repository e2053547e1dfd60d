"""Runs return to the queue: further attempts continue them from the last checkpoint.

Columns with constant defaults are added without a copy of the table. The index over
queued runs, the only one that their claims need, stays as it is.
"""

from django.db import migrations, models

from streaming.migrations._operations import AddColumn


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0012_queue"),
    ]

    operations = [
        AddColumn(
            model_name="run",
            name="restarts",
            field=models.BooleanField(db_default=False, default=False),
        ),
        AddColumn(
            model_name="run",
            name="queue",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=64
            ),
        ),
        AddColumn(
            model_name="run",
            name="priority",
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
        AddColumn(
            model_name="run",
            name="traceparent",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=55
            ),
        ),
        AddColumn(
            model_name="run",
            name="crashes",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="leases lost since the last checkpoint",
            ),
        ),
        AddColumn(
            model_name="run",
            name="checkpoint_number",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        AddColumn(
            model_name="run",
            name="log_number",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        AddColumn(
            model_name="run",
            name="job_id",
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
