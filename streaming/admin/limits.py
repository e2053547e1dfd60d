"""The limits of callers, which may be edited, and their use, which may not."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from streaming import audit
from streaming.account_models import LIMITS
from streaming.admin import display
from streaming.admin.history import HistoryAdmin
from streaming.models import Account, Limit
from streaming.prices import dollars


def money(parts: int) -> str:
    """Format an amount of billionths of a US dollar."""
    return f"${dollars(parts):,.4f}"


class LimitAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no generic class when it runs
    """Limits by organization, user and API key."""

    list_display = ("kind", "subject", "in_organization", *LIMITS)
    list_display_links = ("kind", "subject")
    list_filter = ("kind",)
    list_select_related = ("organization",)
    search_fields = ("name", "organization__org_id")
    search_help_text = "By user, key prefix or organization id"
    autocomplete_fields = ("organization",)
    fieldsets = (
        (None, {"fields": (("kind", "name"), "organization")}),
        ("Runs", {"fields": (("concurrent_runs", "runs_per_minute"),)}),
        (
            "Budget",
            {
                "fields": (
                    ("tokens_per_day", "tokens_per_month"),
                    ("cost_per_day", "cost_per_month"),
                ),
                "description": "A change applies within five seconds.",
            },
        ),
    )

    @admin.display(description="name", ordering="name")
    def subject(self, limit: Limit) -> str:
        """Return the user or the key, or that it applies to each one."""
        return limit.name or ("–" if limit.kind == "organization" else "each one")

    @admin.display(description="organization", ordering="organization__org_id")
    def in_organization(self, limit: Limit) -> str:
        """Return the organization, or that it applies to every one."""
        return str(limit.organization or "every one")

    def save_model(
        self,
        request: HttpRequest,
        obj: Limit,
        form: Any,  # noqa: ANN401  (Django's)
        change: bool,
    ) -> None:
        """Save a limit, and record it."""
        super().save_model(request, obj, form, change)
        self._record(request, obj, "changed" if change else "created")

    def delete_model(self, request: HttpRequest, obj: Limit) -> None:
        """Record the deletion of a limit, and delete it."""
        self._record(request, obj, "deleted")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Limit]) -> None:
        """Record the deletion of limits, and delete them."""
        for limit in queryset.select_related("organization"):
            self._record(request, limit, "deleted")
        super().delete_queryset(request, queryset)

    def _record(self, request: HttpRequest, limit: Limit, verb: str) -> None:
        amounts = {name: getattr(limit, name) for name in LIMITS}
        audit.record(
            f"limit.{verb}",
            actor=audit.user_name(request.user.pk),
            target=f"limit:{limit.pk}",
            org_id=limit.organization.org_id if limit.organization else "",
            details={"kind": limit.kind}
            | {
                name: str(value) for name, value in amounts.items() if value is not None
            },
        )


class AccountAdmin(HistoryAdmin):
    """The use of callers in each period."""

    list_display = (
        "key",
        "period",
        "used_tokens",
        "held_tokens",
        "used_cost",
        "held_cost",
        "runs",
    )
    search_fields = ("key", "period")
    search_help_text = "By caller or period"
    fields = list_display

    used_tokens = display.column("tokens", display.number, "tokens")
    held_tokens = display.column("reserved_tokens", display.number, "reserved tokens")
    used_cost = display.column("cost", money, "cost")
    held_cost = display.column("reserved_cost", money, "reserved cost")

    def has_delete_permission(
        self, request: HttpRequest, obj: Account | None = None
    ) -> bool:
        """Refuse: a deleted account would begin again at zero."""
        return False
