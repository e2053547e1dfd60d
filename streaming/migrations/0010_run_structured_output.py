"""Runs have the JSON of an answer that has a type."""

from django.db import migrations, models

from streaming.migrations._operations import AddColumn


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0009_limits_and_accounts"),
    ]

    operations = [
        AddColumn(
            model_name='run',
            name='structured_output',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
    ]
