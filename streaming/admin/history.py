"""History in the admin: nobody adds to it or changes it; whole talks can be forgotten.

Deleting goes by conversation or organization. The list of what goes with it is
counted, not spelled out: a conversation's event log has too many rows for a page.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from streaming.admin import display
from streaming.event_log import stored_log
from streaming.models import IS_ACTIVE, Conversation, Message, Run

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

MOST_RUNS_NAMED = 20


class HistoryAdmin(_ModelAdmin):
    """Pages to read: a list, and a detail without a form."""

    list_per_page = 50
    show_full_result_count = False
    empty_value_display = display.EMPTY

    class Media:
        css = {"all": ["streaming/admin.css"]}

    def has_add_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """History is made by runs."""
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """History stays what it was."""
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, under the name of what it lists."""
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, title | (extra_context or {}))

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:  # noqa: ANN401
        """What the page of `obj` shows beside its fields."""
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
        """The page of one object, for which the viewer has permission."""
        context |= {"subtitle": "", **self.page_context(request, obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)


class ForgettableAdmin(HistoryAdmin):
    """History that may be deleted, with all that belongs to it, unless a run in it is
    still under way."""

    #: How a conversation is tied to one of these.
    conversation_lookup: str

    def get_deleted_objects(
        self, objs: QuerySet[Any] | Sequence[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """What goes, how much of it, and the runs that stand in the way."""
        keys = [each.pk for each in objs]
        going = Conversation.objects.filter(**{f"{self.conversation_lookup}__in": keys})
        runs = Run.objects.filter(conversation__in=going)
        related: list[QuerySet[Any]] = [
            going,
            runs,
            Message.objects.filter(conversation__in=going),
        ]
        counts = {_plural(self.model): len(objs)}
        counts |= {_plural(rows.model): rows.count() for rows in related}
        counts["event segments"] = stored_log().count_segments(runs)
        under_way = runs.filter(IS_ACTIVE)[:MOST_RUNS_NAMED]
        protected = [
            display.link(run, f"Run {run}: still running") for run in under_way
        ]
        return [display.link(each) for each in objs], counts, set(), protected


def _plural(model: type[Model]) -> str:
    return str(model._meta.verbose_name_plural)
