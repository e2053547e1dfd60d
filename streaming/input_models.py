"""The database rows of inputs: the texts with which users steer active runs."""

import secrets
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone


def new_input_id() -> str:
    """Return an unguessable id of 32 hex digits."""
    return secrets.token_hex(16)


class RunInput(models.Model):
    """A text for an active run, which takes it before one of its model calls."""

    id = models.CharField(
        primary_key=True, max_length=32, default=new_input_id, editable=False
    )
    run = models.ForeignKey(
        "streaming.Run", models.CASCADE, related_name="inputs", db_index=False
    )
    #: The order of the run's inputs.
    number = models.PositiveIntegerField()
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    #: The time when the run, or the next one, took it; null: it waits.
    taken_at = models.DateTimeField(null=True, blank=True)
    #: The id of the run that it became, because its run ended before.
    next_run = models.CharField(max_length=32, blank=True, default="")
    idempotency_key = models.CharField(max_length=255, blank=True, default="")
    request_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["run", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "number"], name="input_unique_in_run"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="input_by_idempotency_key",
            )
        ]

    def __str__(self) -> str:
        return self.id
