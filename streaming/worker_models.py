"""The database rows of workers: the processes that execute runs.

`models` makes them models of the app.
"""

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Worker(models.Model):
    """A process that executes runs, as it last reported itself."""

    #: The name in the rows of its runs (`Run.worker`).
    name = models.CharField(primary_key=True, max_length=64, editable=False)
    host = models.CharField(max_length=64)
    pid = models.PositiveIntegerField(_("process id"))
    version = models.CharField(max_length=32)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(
        default=timezone.now, help_text=_("time of the last report")
    )
    executing = models.PositiveIntegerField(
        default=0, help_text=_("number of runs that it executes")
    )
    open_streams = models.PositiveIntegerField(default=0)
    drain_requested_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
