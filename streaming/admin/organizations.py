"""The list of organizations, with their usage and links to their history."""

from collections.abc import Sequence
from functools import partial

from django.db.models import Count, F, Max, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from streaming.admin import display
from streaming.admin.deletion import DeletableAdmin
from streaming.admin.queries import per_parent
from streaming.models import Conversation, Organization, Run
from streaming.runs.deletion import Deletion, delete_organizations


class OrganizationAdmin(DeletableAdmin):
    """Organizations with their counts."""

    list_display = (
        "org_id",
        "conversation_count",
        "run_count",
        "tokens",
        "active",
        "created",
    )
    list_filter = ("created_at",)
    search_fields = ("org_id",)
    search_help_text = "By organization id"
    fields = (
        ("org_id", "conversation_count", "run_count", "tokens"),
        ("active", "created"),
    )

    conversation_lookup = "organization"

    conversation_count = display.counted(
        "conversation_count", Conversation, "organization"
    )
    run_count = display.counted("run_count", Run, "organization")
    tokens = display.column("spent", display.number, "tokens")
    active = display.column("last", display.moment, "last activity")
    created = display.column("created_at", display.moment, "created")

    def delete_keys(self, keys: Sequence[int]) -> Deletion:
        """Return the deletion of organizations with all that belongs to them."""
        return partial(delete_organizations, keys=keys)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        """Add the counts of each organization."""
        conversations, runs = Conversation.objects.all(), Run.objects.all()
        spent = Sum(F("input_tokens") + F("output_tokens"))
        queryset: QuerySet[Organization] = super().get_queryset(request)
        return queryset.annotate(
            conversation_count=Coalesce(
                per_parent(conversations, "organization", Count("pk")), 0
            ),
            run_count=Coalesce(per_parent(runs, "organization", Count("pk")), 0),
            spent=Coalesce(per_parent(runs, "organization", spent), 0),
            last=per_parent(conversations, "organization", Max("updated_at")),
        )
