"""The list of conversations, searched by their text, and each one's transcript."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Page, Paginator
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html

from streaming.admin import display
from streaming.admin.filters import OrganizationFilter
from streaming.admin.history import DeletableAdmin
from streaming.admin.queries import per_parent
from streaming.admin.transcript import transcript
from streaming.models import Conversation, Message, Run
from streaming.storage.functions import Joined, PartsText

EXCHANGES_PER_PAGE = 100


class ConversationAdmin(DeletableAdmin):
    """Conversations with their counts; the page of one is its transcript."""

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
    search_fields = ("title", "conversation_id", "organization__org_id", "text")
    search_help_text = "By title, conversation id, organization id, or text"
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
        """Return the title and the id."""
        if not row.title:
            return row.conversation_id
        return format_html("{}<small>{}</small>", row.title, row.conversation_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Add the counts of each conversation and its text, which the search reads."""
        messages, runs = Message.objects.all(), Run.objects.all()
        count, spent = Count("pk"), Sum(F("input_tokens") + F("output_tokens"))
        queryset: QuerySet[Conversation] = super().get_queryset(request)
        return queryset.alias(
            text=per_parent(messages, "conversation", Joined(PartsText("parts")))
        ).annotate(
            message_count=Coalesce(per_parent(messages, "conversation", count), 0),
            run_count=Coalesce(per_parent(runs, "conversation", count), 0),
            spent=Coalesce(per_parent(runs, "conversation", spent), 0),
        )

    def page_context(
        self, request: HttpRequest, conversation: Conversation
    ) -> dict[str, Any]:
        """Return one page of exchanges of the transcript."""
        page, messages = _page(conversation, request.GET.get("page", "1"))
        whole = request.GET.get("whole", "")
        return {
            "title": str(conversation),
            "page": page,
            "transcript": transcript(messages, int(whole) if whole.isdecimal() else 0),
        }


def _page(
    conversation: Conversation, number: str
) -> tuple[Page[int], QuerySet[Message]]:
    """Return a page of exchanges, and their messages.

    An exchange begins with a user's message, so no page separates a tool call from its
    result.
    """
    messages = Message.objects.filter(conversation=conversation)
    starts = messages.filter(role="user").values_list("pk", flat=True)
    page = Paginator(starts, EXCHANGES_PER_PAGE).get_page(number)
    if page.has_previous():
        messages = messages.filter(pk__gte=page[0])
    if page.has_next():
        messages = messages.filter(pk__lt=starts[page.end_index()])
    return page, messages.select_related("run").defer("run__input", "run__context")
