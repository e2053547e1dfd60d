"""The audit log."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0010_run_structured_output"),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='time')),
                ('actor', models.CharField(max_length=80)),
                ('action', models.CharField(max_length=40)),
                ('target', models.CharField(blank=True, max_length=160)),
                ('org_id', models.CharField(blank=True, max_length=128, verbose_name='organization')),
                ('details', models.JSONField(blank=True, default=dict)),
            ],
            options={
                'ordering': ['-at', '-id'],
                'indexes': [models.Index(fields=['-at', '-id'], name='audit_newest_first'), models.Index(fields=['org_id', '-at'], name='audit_of_organization')],
            },
        ),
    ]
