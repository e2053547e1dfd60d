"""Runs wait for earlier runs of their conversation: a state, an order and its index."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0015_account_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="place",
            field=models.IntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="interrupts",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=32
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "pending"),
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
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["conversation", "place"],
                name="run_pending",
            ),
        ),
    ]
