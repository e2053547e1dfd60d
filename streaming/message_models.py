"""The database rows of messages, which form the branches of their conversations."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Message(models.Model):
    """One message of a conversation. `parts` is the JSON of `messages.Part`s."""

    conversation = models.ForeignKey(
        "streaming.Conversation",
        models.CASCADE,
        related_name="messages",
        db_index=False,
    )
    run = models.ForeignKey(
        "streaming.Run",
        models.CASCADE,
        related_name="messages",
        null=True,
        blank=True,
    )
    role = models.CharField(
        max_length=16,
        choices={"user": _("user"), "assistant": _("assistant"), "tool": _("tool")},
    )
    parts = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    #: The message before it in its branch. Null: the one before it in the conversation;
    #: 0 or the id of a deleted message: none. No foreign key: the oldest messages are
    #: deleted first.
    parent = models.BigIntegerField(null=True, blank=True, editable=False)
    #: The user of the run from which the message was copied, as in `Run.user`.
    copied_from = models.CharField(
        max_length=64, blank=True, default="", db_default="", editable=False
    )

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "id"], name="message_in_order"),
            models.Index(
                fields=["conversation", "id"],
                condition=Q(parent__isnull=False),
                name="message_branch_points",
            ),
            models.Index(
                fields=["copied_from"],
                condition=~Q(copied_from=""),
                name="message_copies_of_user",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"
