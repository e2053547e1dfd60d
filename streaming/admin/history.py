"""The base class of the admin: history is read-only."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from streaming.admin import display

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class HistoryAdmin(_ModelAdmin):
    """Read-only pages: a list, and a detail without a form."""

    list_per_page = 50
    show_full_result_count = False
    empty_value_display = display.EMPTY

    class Media:
        css = {"all": ["streaming/admin/admin.css"]}

    def has_add_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return false: only runs add to history."""
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return false: history does not change."""
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the list, with the name of its rows as the title."""
        name = plural(self.model)
        title = {"title": name[:1].upper() + name[1:]}
        return super().changelist_view(request, title | (extra_context or {}))

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the part of the page of `obj` that is not a field."""
        return {"title": str(obj)}

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Model | None = None,
    ) -> HttpResponse:
        """Return the page of one object that the user may view."""
        context |= {"subtitle": "", **self.page_context(request, obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)


def plural(model: type[Model]) -> str:
    """Return the name of a model's rows."""
    return str(model._meta.verbose_name_plural)
