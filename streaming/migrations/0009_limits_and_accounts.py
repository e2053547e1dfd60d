"""Limits of callers, and the accounts in which their use is counted."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0008_api_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name='Account',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('period', models.CharField(max_length=32)),
                ('runs', models.PositiveBigIntegerField(default=0)),
                ('tokens', models.PositiveBigIntegerField(default=0)),
                ('cost', models.PositiveBigIntegerField(default=0)),
                ('reserved_tokens', models.PositiveBigIntegerField(default=0)),
                ('reserved_cost', models.PositiveBigIntegerField(default=0)),
                ('ends_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['key', 'period'],
                'indexes': [models.Index(fields=['ends_at'], name='account_by_age')],
                'constraints': [models.UniqueConstraint(fields=('key', 'period'), name='account_unique_in_period')],
            },
        ),
        migrations.CreateModel(
            name='Limit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('organization', 'organization'), ('user', 'user'), ('key', 'API key')], max_length=16)),
                ('name', models.CharField(blank=True, help_text='The primary key of a user, or the prefix of an API key. Empty: each one.', max_length=64)),
                ('concurrent_runs', models.PositiveIntegerField(blank=True, null=True)),
                ('runs_per_minute', models.PositiveIntegerField(blank=True, null=True)),
                ('tokens_per_day', models.PositiveBigIntegerField(blank=True, null=True)),
                ('tokens_per_month', models.PositiveBigIntegerField(blank=True, null=True)),
                ('cost_per_day', models.DecimalField(blank=True, decimal_places=4, help_text='In US dollars; a day is one of UTC.', max_digits=12, null=True, validators=[django.core.validators.MinValueValidator(0)])),
                ('cost_per_month', models.DecimalField(blank=True, decimal_places=4, help_text='In US dollars; a month is one of UTC.', max_digits=12, null=True, validators=[django.core.validators.MinValueValidator(0)])),
                ('organization', models.ForeignKey(blank=True, db_index=False, help_text='Empty: every organization.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='limits', to='streaming.organization')),
            ],
            options={
                'ordering': ['organization', 'kind', 'name'],
                'constraints': [models.UniqueConstraint(fields=('organization', 'kind', 'name'), name='limit_unique_in_organization'), models.UniqueConstraint(condition=models.Q(('organization__isnull', True)), fields=('kind', 'name'), name='limit_unique_without_organization')],
            },
        ),
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run_id', models.CharField(max_length=32)),
                ('call', models.PositiveIntegerField()),
                ('tokens', models.PositiveBigIntegerField()),
                ('cost', models.PositiveBigIntegerField()),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='streaming.account')),
            ],
            options={
                'ordering': ['run_id', 'account'],
                'constraints': [models.UniqueConstraint(fields=('run_id', 'account'), name='reservation_unique_in_account')],
            },
        ),
    ]
