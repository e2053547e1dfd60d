"""What is kept: who talked (organization, conversation), what was said (message),
what happened (run) and every event of it (segment).

A foreign key has no index of its own where one of the model's begins with it.
"""

import secrets
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


def new_run_id() -> str:
    """An unguessable id, 32 hex digits, that sorts by time."""
    milliseconds = int(timezone.now().timestamp() * 1000)
    return f"{milliseconds:012x}{secrets.token_hex(10)}"


def new_conversation_id() -> str:
    """The id of a conversation whose client named none."""
    return f"conv_{secrets.token_hex(12)}"


class Organization(models.Model):
    """A tenant: nothing is shared between two of them."""

    org_id = models.CharField(max_length=128, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["org_id"]

    def __str__(self) -> str:
        return self.org_id


class Conversation(models.Model):
    """Messages in order, known to its client by organization and conversation id."""

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="conversations", db_index=False
    )
    conversation_id = models.CharField(max_length=128, default=new_conversation_id)
    #: The beginning of the first thing that was asked.
    title = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["-updated_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "conversation_id"],
                name="conversation_unique_in_organization",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["organization", "-updated_at", "-id"],
                name="conversation_newest_first",
            )
        ]

    def __str__(self) -> str:
        return self.title or self.conversation_id


class RunStatus(models.TextChoices):
    """The life of a run."""

    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class LogState(models.TextChoices):
    """The life of a run's event log."""

    WRITTEN = "written", _("as it was written")
    COMPACTED = "compacted", _("compacted")
    REMOVED = "removed", _("removed")


class Run(models.Model):
    """One question and all that the agent did to answer it."""

    id = models.CharField(
        primary_key=True, max_length=32, default=new_run_id, editable=False
    )
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="runs", db_index=False
    )
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="runs")
    status = models.CharField(
        max_length=16, choices=RunStatus.choices, default=RunStatus.RUNNING
    )

    # What was asked.
    input = models.TextField()
    context = models.JSONField(default=dict, blank=True)
    max_iterations = models.PositiveSmallIntegerField(default=5)
    background = models.BooleanField(default=False)
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=128)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001  (NULLs are not equal in the unique constraint)
    request_hash = models.CharField(max_length=64, blank=True)

    # What came of it.
    stop_reason = models.CharField(max_length=32, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_tokens = models.PositiveIntegerField(default=0)
    llm_calls = models.PositiveIntegerField(default=0)
    tool_calls = models.PositiveIntegerField(default=0)
    used_tools = models.JSONField(default=list, blank=True)

    # When.
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    first_token_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    log_state = models.CharField(
        max_length=16,
        choices=LogState.choices,
        default=LogState.WRITTEN,
        db_default=LogState.WRITTEN,  # for processes of the version before
    )

    # How processes share it.
    worker = models.CharField(
        max_length=64, blank=True, help_text=_("the process that runs it")
    )
    heartbeat_at = models.DateTimeField(
        default=timezone.now, help_text=_("when that process was last seen alive")
    )
    last_reader_at = models.DateTimeField(
        default=timezone.now, help_text=_("when somebody last listened")
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(status="running"),
                name="run_one_at_a_time_in_conversation",
            ),
            models.UniqueConstraint(
                fields=["organization", "idempotency_key"],
                name="run_unique_idempotency_key",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "-id"], name="run_newest_first"),
            models.Index(
                fields=["heartbeat_at"],
                condition=Q(status="running"),
                name="run_under_way",
            ),
            models.Index(fields=["log_state", "ended_at"], name="run_log_by_age"),
            models.Index(
                fields=["created_at"],
                condition=Q(idempotency_key__isnull=False),
                name="run_idempotency_key_by_age",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def total_tokens(self) -> int:
        """Tokens that went in and came out."""
        return self.input_tokens + self.output_tokens


class Message(models.Model):
    """One message of a conversation. `parts` is the JSON of `messages.Part`s."""

    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="messages", db_index=False
    )
    run = models.ForeignKey(
        Run, models.CASCADE, related_name="messages", null=True, blank=True
    )
    role = models.CharField(
        max_length=16,
        choices={"user": _("user"), "assistant": _("assistant"), "tool": _("tool")},
    )
    parts = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "id"], name="message_in_order")
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"


class EventSegment(models.Model):
    """A stretch of a run's event log: the events `first_id` to `last_id`.

    `events` is one JSON document a line, each exactly as it was sent.
    """

    run = models.ForeignKey(
        Run, models.CASCADE, related_name="segments", db_index=False
    )
    first_id = models.PositiveIntegerField()
    last_id = models.PositiveIntegerField()
    events = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["run", "last_id"]
        constraints: ClassVar = [
            # Readers ask for what ends after a number.
            models.UniqueConstraint(
                fields=["run", "last_id"], name="segment_unique_in_run"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.first_id}-{self.last_id}"
