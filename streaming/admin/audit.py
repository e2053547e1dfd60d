"""The pages of the audit log, which can only be read."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from streaming.admin import display
from streaming.admin.history import HistoryAdmin
from streaming.admin.runs import pretty
from streaming.models import AuditRecord

#: The newest records, whose values a filter offers. All would have to be read.
NEWEST_RECORDS = 1000
MOST_VALUES = 30


class NewestValuesFilter(admin.SimpleListFilter):
    """A filter with the values of a field among the newest records."""

    def lookups(
        self,
        request: HttpRequest,
        model_admin: Any,  # noqa: ANN401
    ) -> Iterable[tuple[str, str]]:
        """Return the values, and the chosen one."""
        rows = AuditRecord.objects.values_list(self.parameter_name or "", flat=True)
        values = sorted({*rows[:NEWEST_RECORDS]} - {""})[:MOST_VALUES]
        if (chosen := self.value()) and chosen not in values:
            values.append(chosen)
        return [(value, value) for value in values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the records with the chosen value."""
        value = self.value()
        name = self.parameter_name or ""
        return queryset.filter(**{name: value}) if value else queryset


class ActionFilter(NewestValuesFilter):
    """A filter by the action."""

    title = parameter_name = "action"


class OrgFilter(NewestValuesFilter):
    """A filter by the organization."""

    title, parameter_name = "organization", "org_id"


class AuditAdmin(HistoryAdmin):
    """Records of actions on access and data; not even a superuser changes them."""

    list_display = ("what", "actor", "org_id", "when")
    list_filter = (ActionFilter, OrgFilter, "at")
    search_fields = ("actor", "target", "org_id")
    search_help_text = "By actor, target or organization id"
    fields = (("action", "actor", "org_id"), ("target", "when"), "given_details")

    when = display.column("at", display.moment, "time")
    given_details = display.column("details", pretty, "details")

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return false: only the retention removes records."""
        return False

    @admin.display(description="action", ordering="action")
    def what(self, record: AuditRecord) -> str:
        """Return the action and its target."""
        return format_html("{}<small>{}</small>", record.action, record.target)
