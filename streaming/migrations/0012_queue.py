"""An index over queued runs, at which each process looks again and again."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('streaming', '0011_audit_log'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status', 'queued')), fields=['created_at', 'id'], name='run_in_queue'),
        ),
    ]
