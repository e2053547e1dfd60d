"""API keys."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import streaming.access_models


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0007_owners_and_agents"),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.CharField(blank=True, default='', help_text='Primary key of the user for whom the key acts; empty: the key acts for the whole organization.', max_length=64)),
                ('name', models.CharField(help_text='The program or person that has the key.', max_length=100)),
                ('prefix', models.CharField(help_text='The public part of the key.', max_length=16, unique=True)),
                ('secret_hash', models.CharField(editable=False, max_length=64)),
                ('scopes', models.JSONField(default=list, validators=[streaming.access_models.validate_scopes])),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('expires_at', models.DateTimeField(blank=True, help_text='Empty: the key does not expire.', null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='streaming.organization')),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
                'ordering': ['-created_at', '-id'],
            },
        ),
    ]
