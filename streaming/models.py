"""The database rows: organizations, their conversations and messages, runs and their
event logs.

A foreign key has no index of its own if another index of its model begins with it.
"""

import secrets
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming.access_models import ApiKey, AuditRecord
from streaming.account_models import Account, Limit, LimitSubject, Reservation
from streaming.input_models import RunInput
from streaming.message_models import Message
from streaming.run_states import (
    ACTIVE,
    HAS_NOT_ENDED,
    IS_ACTIVE,
    NOT_ENDED,
    RunStatus,
)
from streaming.worker_models import Worker

__all__ = [
    "ACTIVE",
    "HAS_NOT_ENDED",
    "IS_ACTIVE",
    "NOT_ENDED",
    "Account",
    "ApiKey",
    "AuditRecord",
    "Conversation",
    "ConversationText",
    "EventSegment",
    "Limit",
    "LimitSubject",
    "LogState",
    "Message",
    "Organization",
    "Reservation",
    "Run",
    "RunInput",
    "RunStatus",
    "Worker",
    "new_conversation_id",
    "new_run_id",
]


def new_run_id() -> str:
    """Return an unguessable id of 32 hex digits that sorts by time."""
    milliseconds = int(timezone.now().timestamp() * 1000)
    return f"{milliseconds:012x}{secrets.token_hex(10)}"


def new_conversation_id() -> str:
    """Return an id for a conversation that its client did not name."""
    return f"conv_{secrets.token_hex(12)}"


class Organization(models.Model):
    """A tenant; two organizations share nothing."""

    org_id = models.CharField(max_length=128, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["org_id"]

    def __str__(self) -> str:
        return self.org_id


class Conversation(models.Model):
    """Messages in order; clients name it by the conversation id of its owner."""

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="conversations", db_index=False
    )
    #: The owner in the organization (`Principal.owner`); empty: the whole of it.
    owner = models.CharField(max_length=128, blank=True, default="", db_default="")
    conversation_id = models.CharField(max_length=128, default=new_conversation_id)
    #: The beginning of the first user message, unless a client has renamed it.
    title = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    #: The last message of the branch that is shown; null: the newest message.
    head = models.BigIntegerField(null=True, blank=True, editable=False)
    #: Whether a message has a parent other than the message before it.
    is_branched = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        ordering: ClassVar = ["-updated_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "owner", "conversation_id"],
                name="conversation_unique_for_owner",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["organization", "owner", "-updated_at", "-id"],
                name="conversation_newest_of_owner",
            )
        ]

    def __str__(self) -> str:
        return self.title or self.conversation_id


class ConversationText(models.Model):
    """The text in which a conversation is found; `storage.search` has its index.

    It has a table of its own, since an update of the conversation's row would write the
    row's indexes anew. On SQLite the table has triggers, which an altered table loses.
    """

    conversation = models.OneToOneField(
        Conversation, models.CASCADE, primary_key=True, related_name="search"
    )
    text = models.TextField()

    def __str__(self) -> str:
        return self.text


class LogState(models.TextChoices):
    """The states of a run's event log."""

    WRITTEN = "written", _("as it was written")
    COMPACTED = "compacted", _("compacted")
    REMOVED = "removed", _("removed")


class Run(models.Model):
    """One question and everything that the agent does to answer it."""

    id = models.CharField(
        primary_key=True, max_length=32, default=new_run_id, editable=False
    )
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="runs", db_index=False
    )
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="runs")
    #: The same as the conversation's.
    owner = models.CharField(max_length=128, blank=True, default="", db_default="")
    status = models.CharField(
        max_length=16, choices=RunStatus.choices, default=RunStatus.RUNNING
    )

    # The request.
    #: The primary key of the user, as text. No foreign key: users may be in another
    #: database, and a run outlives its user.
    user = models.CharField(max_length=64, blank=True, default="", db_default="")
    #: The proof of the caller's identity (`Principal.credential`).
    credential = models.CharField(max_length=64, blank=True, default="", db_default="")
    #: The name of the agent; empty: the agent of the settings.
    agent = models.CharField(max_length=64, blank=True, default="", db_default="")
    #: Values of Python code for the tools.
    deps = models.JSONField(null=True, blank=True)
    input = models.TextField()
    #: The parent of its first message, as in `Message.parent`.
    parent = models.BigIntegerField(null=True, blank=True, editable=False)
    #: The message that it answers, if that is the question of an earlier run.
    question = models.BigIntegerField(null=True, blank=True, editable=False)
    #: The head of the conversation before it became that question.
    previous_head = models.BigIntegerField(null=True, blank=True, editable=False)
    context = models.JSONField(default=dict, blank=True)
    max_iterations = models.PositiveSmallIntegerField(default=5)
    background = models.BooleanField(default=False)
    #: Whether the readers of the run remove the text that a further attempt voids.
    restarts = models.BooleanField(default=False, db_default=False)
    #: The agent's queue, and its priority there.
    queue = models.CharField(max_length=64, blank=True, default="", db_default="")
    priority = models.SmallIntegerField(default=0, db_default=0)
    #: The order of the pending runs of a conversation; null: not pending.
    place = models.IntegerField(null=True, blank=True, editable=False)
    #: The active run that a pending one interrupts: it is to be cancelled.
    interrupts = models.CharField(
        max_length=32, blank=True, default="", db_default="", editable=False
    )
    #: The W3C trace context of the request.
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=128)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001  (NULLs are not equal in the unique constraint)
    request_hash = models.CharField(max_length=64, blank=True)

    # The result.
    stop_reason = models.CharField(max_length=32, blank=True)
    #: The JSON of the answer of an agent with an output type; text, because `jsonb`
    #: does not accept all JSON. The validators of such a type run once, at the end.
    structured_output = models.TextField(blank=True, default="", db_default="")
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_tokens = models.PositiveIntegerField(default=0)
    #: The cost in US dollars; null: the price of the model is unknown.
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True, blank=True)
    llm_calls = models.PositiveIntegerField(default=0)
    tool_calls = models.PositiveIntegerField(default=0)
    used_tools = models.JSONField(default=list, blank=True)

    # Times.
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    first_token_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    log_state = models.CharField(
        max_length=16,
        choices=LogState.choices,
        default=LogState.WRITTEN,
        db_default=LogState.WRITTEN,  # for processes of the previous version
    )

    # Ownership and signals between processes.
    worker = models.CharField(
        max_length=64, blank=True, help_text=_("the process that executes the run")
    )
    attempt = models.PositiveIntegerField(
        default=0,
        db_default=0,  # for processes of the previous version
        help_text=_("number of times that a worker has claimed the run"),
    )
    crashes = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text=_("leases lost since the last checkpoint")
    )
    #: The number of the last entry that the last checkpoint covers.
    checkpoint_number = models.PositiveIntegerField(default=0, db_default=0)
    #: The number after which the entries of the next attempt begin.
    log_number = models.PositiveIntegerField(default=0, db_default=0)
    #: The job of an executor with an engine of its own.
    job_id = models.BigIntegerField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(
        default=timezone.now, help_text=_("time of the worker's last heartbeat")
    )
    last_reader_at = models.DateTimeField(
        default=timezone.now,
        help_text=_("last time that a reader was connected to another process"),
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=IS_ACTIVE,
                name="run_one_at_a_time_in_conversation",
            ),
            models.UniqueConstraint(
                fields=["organization", "owner", "idempotency_key"],
                name="run_unique_idempotency_key_of_owner",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "-id"], name="run_newest_first"),
            models.Index(
                fields=["heartbeat_at"],
                condition=IS_ACTIVE,
                name="run_under_way",
            ),
            models.Index(
                fields=["created_at", "id"],
                condition=Q(status=RunStatus.QUEUED.value),
                name="run_in_queue",
            ),
            models.Index(
                fields=["conversation", "place"],
                condition=Q(status=RunStatus.PENDING.value),
                name="run_pending",
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

    #: The position of a pending run, from 1, if it was looked up (`runs.pending`).
    position: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the run is in a final state."""
        return self.status not in NOT_ENDED

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


class EventSegment(models.Model):
    """A part of a run's event log: the events `first_id` to `last_id`.

    `events` has one JSON document in each line, exactly as it was sent.
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
            # Readers query for segments that end after a number.
            models.UniqueConstraint(
                fields=["run", "last_id"], name="segment_unique_in_run"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.first_id}-{self.last_id}"
