"""Runs may be queued, and count the attempts to execute them.

No table is copied: SQLite's schema editor would rebuild the runs to add a column, so
that the column is added by the statement that both databases have. Each index covers
only active runs.
"""

import django.utils.timezone
from django.db import migrations, models

from streaming.migrations._operations import AddColumn

ACTIVE = models.Q(("status", "queued"), ("status", "running"), _connector="OR")


def fail_queued_runs(apps, schema_editor):
    """End the queued runs, which the previous version cannot end."""
    runs = apps.get_model("streaming", "Run").objects.filter(status="queued")
    runs.update(
        status="failed",
        error_code="interrupted",
        error_message="The server was replaced by an earlier version.",
        ended_at=django.utils.timezone.now(),
    )


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0003_one_index_for_each_use"),
    ]

    operations = [
        AddColumn(
            model_name="run",
            name="attempt",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="number of times that a worker has claimed the run",
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="status",
            field=models.CharField(
                choices=[
                    ("queued", "queued"),
                    ("running", "running"),
                    ("completed", "completed"),
                    ("failed", "failed"),
                    ("cancelled", "cancelled"),
                ],
                default="running",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="worker",
            field=models.CharField(
                blank=True,
                help_text="the process that executes the run",
                max_length=64,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="heartbeat_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="time of the worker's last heartbeat",
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="last_reader_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="last time that a reader was connected to another process",
            ),
        ),
        migrations.RemoveConstraint(
            model_name="run", name="run_one_at_a_time_in_conversation"
        ),
        migrations.RemoveIndex(model_name="run", name="run_under_way"),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=ACTIVE, fields=["heartbeat_at"], name="run_under_way"
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=ACTIVE,
                fields=("conversation",),
                name="run_one_at_a_time_in_conversation",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, fail_queued_runs),
    ]
