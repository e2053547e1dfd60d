"""Filters that stay short, and cheap, with any number of rows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from streaming.models import Organization, Run

MOST_ORGANIZATIONS = 20
#: The newest runs, whose values a filter offers. All runs would have to be read.
NEWEST_RUNS = 1000

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class OrganizationFilter(admin.SimpleListFilter):
    """A filter with the first organizations by name, and the chosen one.

    Their own page or a search for their id leads to the others.
    """

    title = "organization"
    parameter_name = "organization__id__exact"  # as in links to Django's own filter

    def lookups(
        self, request: HttpRequest, model_admin: _ModelAdmin
    ) -> list[tuple[str, str]]:
        """Return at most `MOST_ORGANIZATIONS`, and the chosen one."""
        every = Organization.objects.values_list("pk", "org_id")
        choices = list(every[:MOST_ORGANIZATIONS])
        if (chosen := self._chosen) is not None:
            choices += every.filter(pk=chosen).exclude(pk__in=dict(choices))
        return [(str(pk), org_id) for pk, org_id in choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen organization."""
        if not self.value():
            return queryset
        chosen = self._chosen
        return (
            queryset.none() if chosen is None else queryset.filter(organization=chosen)
        )

    @property
    def _chosen(self) -> int | None:
        value = self.value() or ""
        return int(value[:18]) if value.isdecimal() else None


class ValueFilter(admin.SimpleListFilter):
    """A filter of runs with the values of a field that occur, except the empty one."""

    field: str

    def lookups(
        self, request: HttpRequest, model_admin: _ModelAdmin
    ) -> list[tuple[str, str]]:
        """Return the values among the newest runs, and the chosen one."""
        newest = Run.objects.values_list(self.field, flat=True)[:NEWEST_RUNS]
        values = {*newest, self.value() or ""} - {""}
        return [(value, value) for value in sorted(values)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the runs with the chosen value."""
        value = self.value()
        return queryset.filter(**{self.field: value}) if value else queryset


def values_of(*fields: str) -> Iterable[type[ValueFilter]]:
    """Return a filter for each of these fields of a run."""
    for field in fields:
        title = field.replace("_", " ")
        values = {"title": title, "parameter_name": field, "field": field}
        yield type(f"ValueFilter_{field}", (ValueFilter,), values)
