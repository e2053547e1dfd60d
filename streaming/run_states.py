"""The states of a run, and the conditions that select runs by them."""

from functools import reduce
from operator import or_

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class RunStatus(models.TextChoices):
    """The states of a run; `runs.lifecycle` has the transitions between them."""

    PENDING = "pending", _("pending")
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


#: The states of an active run. A conversation has at most one such run.
ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
#: The same as a condition for queries. SQLite uses an index over these rows for this
#: condition, and for one of its statuses, because it is an OR; it would not for an IN.
IS_ACTIVE: Q = reduce(or_, (Q(status=status.value) for status in ACTIVE))
#: The states of a run that has not ended: it is active, or waits for an earlier run.
NOT_ENDED = (RunStatus.PENDING, *ACTIVE)
#: The same as a condition for queries.
HAS_NOT_ENDED: Q = reduce(or_, (Q(status=status.value) for status in NOT_ENDED))
