"""The processes that execute runs, as they report themselves."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0013_further_attempts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("name", models.CharField(editable=False, max_length=64, primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=64)),
                ("pid", models.PositiveIntegerField(verbose_name="process id")),
                ("version", models.CharField(max_length=32)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("heartbeat_at", models.DateTimeField(default=django.utils.timezone.now, help_text="time of the last report")),
                ("executing", models.PositiveIntegerField(default=0, help_text="number of runs that it executes")),
                ("open_streams", models.PositiveIntegerField(default=0)),
                ("drain_requested_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
    ]
