"""The list of organizations, with their usage and links to their history."""

from collections.abc import Sequence
from functools import partial

from django.db.models import Count, F, Max, Model, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from streaming import audit
from streaming.admin import display
from streaming.admin.deletion import DeletableAdmin
from streaming.admin.queries import per_parent
from streaming.auth.keys.issue import revoke_keys
from streaming.models import ApiKey, Conversation, Organization, Run
from streaming.runs.deletion import Deletion, delete_organizations

#: The permissions that the deletion of an organization needs beside its own.
_OF_DEPENDENTS = (
    "streaming.delete_conversation",
    "streaming.change_apikey",
    "streaming.delete_limit",
)


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

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return true for users with permission to end all that goes with it."""
        return super().has_delete_permission(request, obj) and request.user.has_perms(
            _OF_DEPENDENTS
        )

    def before_deletion(
        self, request: HttpRequest, rows: Sequence[Organization]
    ) -> None:
        """Revoke the keys: none of them starts another run."""
        keys = ApiKey.objects.filter(organization__in=rows, revoked_at=None)
        prefixes = list(keys.values_list("prefix", flat=True))
        revoke_keys(prefixes, audit.user_name(request.user.pk))

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
