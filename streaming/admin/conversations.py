"""The list of conversations, searched by their text, and each one's transcript."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.paginator import Page, Paginator
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Coalesce, Left
from django.http import HttpRequest
from django.utils.html import format_html

from streaming.admin import display
from streaming.admin.deletion import DeletableAdmin
from streaming.admin.filters import OrganizationFilter
from streaming.admin.queries import conversation_with, per_parent, words_of
from streaming.admin.transcript import transcript
from streaming.models import Conversation, Message, Run
from streaming.runs import pending
from streaming.runs.deletion import Deletion, delete_conversations
from streaming.storage.walk import keys_within

EXCHANGES_PER_PAGE = 100
#: Bounds of a page whose exchanges are long.
MESSAGES_PER_PAGE = 1_000
CHARS_PER_PAGE = 2_000_000
#: Pending runs that the transcript shows, and the beginning of each one's input.
PENDING_SHOWN = 100
PENDING_CHARS = 201
#: Texts of runs that the transcript does not show.
LONG_FIELDS = ("run__input", "run__context", "run__structured_output")


class ConversationAdmin(DeletableAdmin):
    """Conversations with their counts; the page of one is its transcript."""

    list_display = (
        "conversation",
        "organization_link",
        "message_count",
        "run_count",
        "tokens",
        "active",
        "owner_key",
    )
    list_filter = (OrganizationFilter, "updated_at", "created_at")
    list_select_related = ("organization",)
    search_fields = ("conversation_id", "organization__org_id")
    search_help_text = (
        "By title, beginning of the first question, conversation id or organization id"
    )
    fields = (
        ("organization_link", "owner_key", "conversation_id"),
        ("message_count", "run_count", "tokens"),
        ("created", "active"),
    )

    conversation_lookup = "pk"

    organization_link = display.column("organization", display.link, "organization")
    owner_key = display.column("owner", display.text, "owner")
    message_count = display.column("message_count", display.number, "messages")
    run_count = display.counted("run_count", Run, "conversation")
    tokens = display.column("spent", display.number, "tokens")
    active = display.column("updated_at", display.moment, "last activity")
    created = display.column("created_at", display.moment, "created")

    @admin.display(ordering="title")
    def conversation(self, row: Conversation) -> str:
        """Return the title and the id."""
        if not row.title:
            return row.conversation_id
        return format_html("{}<small>{}</small>", row.title, row.conversation_id)

    def delete_keys(self, keys: Sequence[int]) -> Deletion:
        """Return the deletion of conversations with all that belongs to them."""
        chosen = Conversation.objects.filter(pk__in=keys)
        return partial(delete_conversations, conversations=chosen)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ANN401
        """Log the ids: a title is the beginning of a user's question."""
        for conversation in queryset:
            conversation.title = ""
        return super().log_deletions(request, queryset)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        """Return conversations with each word in their text or ids; no duplicates."""
        return queryset.filter(*map(conversation_with, words_of(search_term))), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Add the counts of each conversation."""
        messages, runs = Message.objects.all(), Run.objects.all()
        count, spent = Count("pk"), Sum(F("input_tokens") + F("output_tokens"))
        queryset: QuerySet[Conversation] = super().get_queryset(request)
        return queryset.annotate(
            message_count=Coalesce(per_parent(messages, "conversation", count), 0),
            run_count=Coalesce(per_parent(runs, "conversation", count), 0),
            spent=Coalesce(per_parent(runs, "conversation", spent), 0),
        )

    def page_context(
        self, request: HttpRequest, conversation: Conversation
    ) -> dict[str, Any]:
        """Return one page of exchanges of the transcript, or a part of a long one."""
        page, messages, further = _page(
            conversation, request.GET.get("page", "1"), _number(request, "after")
        )
        return {
            "title": str(conversation),
            "page": page,
            "after": _number(request, "after"),
            "further": further,
            "transcript": transcript(messages, _number(request, "whole")),
            "pending": _pending(conversation)[:PENDING_SHOWN],
        }


def _pending(conversation: Conversation) -> QuerySet[Run]:
    """Return the pending runs of a conversation; their inputs may be long."""
    beginning = Left("input", PENDING_CHARS)
    found = pending.of_conversation(conversation.pk).annotate(beginning=beginning)
    return found.only("id")


def _number(request: HttpRequest, name: str) -> int:
    value = request.GET.get(name, "")
    return int(value[:18]) if value.isdecimal() else 0


def _page(
    conversation: Conversation, number: str, after: int
) -> tuple[Page[int], QuerySet[Message], int]:
    """Return a page of exchanges, its messages, and the key after which more follow.

    An exchange begins with a user's message, so no page separates a tool call from its
    result, unless it is too long: then its messages begin after a key.
    """
    messages = Message.objects.filter(conversation=conversation).order_by("pk")
    starts = messages.filter(role="user").values_list("pk", flat=True)
    page = Paginator(starts, EXCHANGES_PER_PAGE).get_page(number)
    first = page[0] - 1 if page.has_previous() else 0
    if page.has_next():
        messages = messages.filter(pk__lt=starts[page.end_index()])
    keys = keys_within(
        conversation.pk,
        max(first, after),
        forward=True,
        limit=MESSAGES_PER_PAGE,
        chars=CHARS_PER_PAGE,
    )
    if not keys:
        return page, messages.none(), 0
    further = keys[-1] if messages.filter(pk__gt=keys[-1]).exists() else 0
    shown = messages.filter(pk__gte=keys[0], pk__lte=keys[-1]).select_related("run")
    return page, shown.defer(*LONG_FIELDS), further
