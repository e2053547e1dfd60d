"""Conversations: found by what was said in them, and read as a transcript."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Page, Paginator
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html

from streaming.admin import display
from streaming.admin.filters import OrganizationFilter
from streaming.admin.history import ForgettableAdmin
from streaming.admin.queries import per_parent
from streaming.admin.transcript import transcript
from streaming.models import Conversation, Message, Run
from streaming.storage.functions import Joined, PartsText

TURNS_PER_PAGE = 100


class ConversationAdmin(ForgettableAdmin):
    """Talks with their numbers; each page is the transcript."""

    list_display = (
        "conversation",
        "organization_link",
        "message_count",
        "run_count",
        "tokens",
        "active",
    )
    list_filter = (("organization", OrganizationFilter), "updated_at", "created_at")
    list_select_related = ("organization",)
    search_fields = ("title", "conversation_id", "organization__org_id", "said")
    search_help_text = "By title, conversation id, organization id, or what was said"
    fields = (
        ("organization_link", "conversation_id"),
        ("message_count", "run_count", "tokens"),
        ("created", "active"),
    )

    conversation_lookup = "pk"

    organization_link = display.column("organization", display.link, "organization")
    message_count = display.column("message_count", display.number, "messages")
    run_count = display.counted("run_count", Run, "conversation")
    tokens = display.column("spent", display.number, "tokens")
    active = display.column("updated_at", display.moment, "last activity")
    created = display.column("created_at", display.moment, "created")

    @admin.display(ordering="title")
    def conversation(self, row: Conversation) -> str:
        """Its title, and its id."""
        if not row.title:
            return row.conversation_id
        return format_html("{}<small>{}</small>", row.title, row.conversation_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """With the numbers of each, and what was said, for the search."""
        messages, runs = Message.objects.all(), Run.objects.all()
        count, spent = Count("pk"), Sum(F("input_tokens") + F("output_tokens"))
        queryset: QuerySet[Conversation] = super().get_queryset(request)
        return queryset.alias(
            said=per_parent(messages, "conversation", Joined(PartsText("parts")))
        ).annotate(
            message_count=Coalesce(per_parent(messages, "conversation", count), 0),
            run_count=Coalesce(per_parent(runs, "conversation", count), 0),
            spent=Coalesce(per_parent(runs, "conversation", spent), 0),
        )

    def page_context(
        self, request: HttpRequest, conversation: Conversation
    ) -> dict[str, Any]:
        """The transcript, a page of turns at a time."""
        page, messages = _turns(conversation, request.GET.get("page", "1"))
        whole = request.GET.get("whole", "")
        return {
            "title": str(conversation),
            "page": page,
            "transcript": transcript(messages, int(whole) if whole.isdecimal() else 0),
        }


def _turns(
    conversation: Conversation, number: str
) -> tuple[Page[int], QuerySet[Message]]:
    """A page of turns, and their messages.

    A turn begins with a user's message, so no tool call is parted from its result.
    """
    messages = Message.objects.filter(conversation=conversation)
    starts = messages.filter(role="user").values_list("pk", flat=True)
    page = Paginator(starts, TURNS_PER_PAGE).get_page(number)
    if page.has_previous():
        messages = messages.filter(pk__gte=page[0])
    if page.has_next():
        messages = messages.filter(pk__lt=starts[page.end_index()])
    return page, messages.select_related("run").defer("run__input", "run__context")
