"""Conversations and runs have owners in their organization, and runs have agents.

Columns are added without rewriting a table. SQLite copies the tables of runs and
conversations to replace their unique constraints.
"""

from django.db import migrations, models

from streaming.migrations._operations import AddColumn


class Migration(migrations.Migration):

    dependencies = [
        ('streaming', '0006_fill_conversation_texts'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='conversation',
            name='conversation_unique_in_organization',
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='run_unique_idempotency_key',
        ),
        migrations.RemoveIndex(
            model_name='conversation',
            name='conversation_newest_first',
        ),
        AddColumn(
            model_name='conversation',
            name='owner',
            field=models.CharField(blank=True, db_default='', default='', max_length=128),
        ),
        AddColumn(
            model_name='run',
            name='agent',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        AddColumn(
            model_name='run',
            name='cost',
            field=models.DecimalField(blank=True, decimal_places=8, max_digits=14, null=True),
        ),
        AddColumn(
            model_name='run',
            name='credential',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        AddColumn(
            model_name='run',
            name='deps',
            field=models.JSONField(blank=True, null=True),
        ),
        AddColumn(
            model_name='run',
            name='owner',
            field=models.CharField(blank=True, db_default='', default='', max_length=128),
        ),
        AddColumn(
            model_name='run',
            name='user',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(fields=['organization', 'owner', '-updated_at', '-id'], name='conversation_newest_of_owner'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.UniqueConstraint(fields=('organization', 'owner', 'conversation_id'), name='conversation_unique_for_owner'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(fields=('organization', 'owner', 'idempotency_key'), name='run_unique_idempotency_key_of_owner'),
        ),
    ]
