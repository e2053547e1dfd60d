"""Filters that stay short with any number of values."""

from typing import Any

from django.contrib import admin
from django.db.models import Field, Model
from django.http import HttpRequest

from streaming.models import Organization

MOST_ORGANIZATIONS = 20


class OrganizationFilter(admin.RelatedFieldListFilter):
    """A filter with the first organizations by name, and the chosen one.

    Their own page or a search for their id leads to the others.
    """

    def field_choices(
        self,
        field: Any,  # noqa: ANN401  (as Django's own)
        request: HttpRequest,
        model_admin: "admin.ModelAdmin[Any]",
    ) -> list[tuple[str, Any]]:
        """Return at most `MOST_ORGANIZATIONS`, and the chosen one."""
        every = Organization.objects.values_list("pk", "org_id")
        choices = list(every[:MOST_ORGANIZATIONS])
        chosen = self.lookup_val[-1] if self.lookup_val else ""
        if chosen.isdecimal():
            choices += every.filter(pk=chosen).exclude(pk__in=dict(choices))
        return [(str(pk), org_id) for pk, org_id in choices]


class ValueFilter(admin.AllValuesFieldListFilter):
    """A filter with all values that occur, except for the empty one."""

    def __init__(
        self,
        field: "Field[Any, Any]",
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Model],
        model_admin: "admin.ModelAdmin[Any]",
        field_path: str,
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        self.lookup_choices = self.lookup_choices.exclude(**{field_path: ""})

    def has_output(self) -> bool:
        """Return false for a filter without a choice: Django then omits it."""
        return self.lookup_choices.exists()
