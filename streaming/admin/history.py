"""The base classes of the admin: history is read-only, but can be deleted as a whole.

Whole conversations or organizations are deleted. The confirmation counts the rows that
go with them and lists none: a conversation's event log has too many rows for a page.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from streaming.admin import display
from streaming.event_log import stored_log
from streaming.models import IS_ACTIVE, Conversation, Message, Run

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

MAX_RUNS_LISTED = 20


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
        name = _plural(self.model)
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


class DeletableAdmin(HistoryAdmin):
    """History that may be deleted with its rows, unless one of its runs is active."""

    #: The lookup from a conversation to a row of this list.
    conversation_lookup: str

    def get_deleted_objects(
        self, objs: QuerySet[Any] | Sequence[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Return the rows to delete, counts by type, and the runs that prevent it."""
        keys = [each.pk for each in objs]
        conversations = Conversation.objects.filter(
            **{f"{self.conversation_lookup}__in": keys}
        )
        runs = Run.objects.filter(conversation__in=conversations)
        related: list[QuerySet[Any]] = [
            conversations,
            runs,
            Message.objects.filter(conversation__in=conversations),
        ]
        counts = {_plural(self.model): len(objs)}
        counts |= {_plural(rows.model): rows.count() for rows in related}
        counts["event segments"] = stored_log().count_segments(runs)
        active = runs.filter(IS_ACTIVE)[:MAX_RUNS_LISTED]
        protected = [display.link(run, f"Run {run}: still running") for run in active]
        return [display.link(each) for each in objs], counts, set(), protected


def _plural(model: type[Model]) -> str:
    return str(model._meta.verbose_name_plural)
