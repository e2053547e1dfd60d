"""Texts that steer active runs: a table of their own."""

import django.db.models.deletion
import django.utils.timezone
import streaming.input_models
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('streaming', '0017_branches'),
    ]

    operations = [
        migrations.CreateModel(
            name='RunInput',
            fields=[
                ('id', models.CharField(default=streaming.input_models.new_input_id, editable=False, max_length=32, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField()),
                ('text', models.TextField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('taken_at', models.DateTimeField(blank=True, null=True)),
                ('next_run', models.CharField(blank=True, default='', max_length=32)),
                ('idempotency_key', models.CharField(blank=True, default='', max_length=255)),
                ('request_hash', models.CharField(blank=True, default='', max_length=64)),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='inputs', to='streaming.run')),
            ],
            options={
                'ordering': ['run', 'number'],
                'indexes': [models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_key'], name='input_by_idempotency_key')],
                'constraints': [models.UniqueConstraint(fields=('run', 'number'), name='input_unique_in_run')],
            },
        ),
    ]
