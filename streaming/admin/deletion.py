"""Deletion in the admin: of conversations or organizations, in short transactions.

The confirmation counts the rows that go with them, up to a limit, and lists a few of
the chosen ones: an organization may have a hundred thousand conversations.
"""

import time
from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from streaming import audit
from streaming.admin import display
from streaming.admin.history import HistoryAdmin, plural
from streaming.event_log import stored_log
from streaming.models import IS_ACTIVE, Conversation, Message, Run
from streaming.runs import deletion

#: Rows that a page lists, of the chosen ones and of active runs.
MOST_LISTED = 20
#: The number up to which rows are counted.
MOST_COUNTED = 10_000
#: Chosen rows that are deleted, and noted in the log of the admin, together.
TOGETHER = 100


class DeletableAdmin(HistoryAdmin):
    """History that may be deleted with its rows, unless one of its runs is active."""

    actions = ("delete_selected",)
    #: The lookup from a conversation to a row of this list.
    conversation_lookup: str
    #: Time for the deletion in one request, less than most proxies wait for a response.
    seconds = 20.0

    def before_deletion(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Prepare the deletion of some rows."""

    def delete_keys(self, keys: Sequence[int]) -> deletion.Deletion:
        """Return the deletion of some rows with all that belongs to them."""
        raise NotImplementedError  # each list has its own: conversations, organizations

    @admin.action(
        description="Delete selected %(verbose_name_plural)s", permissions=["delete"]
    )
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Ask for confirmation, then delete the chosen rows."""
        return self._ask_or_delete(request, queryset)

    @transaction.non_atomic_requests
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Return the list, or the response of an action, without a transaction."""
        return super().changelist_view(request, extra_context)

    @transaction.non_atomic_requests
    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Ask for confirmation, then delete one row.

        Django's own view deletes within one transaction.
        """
        key = int(object_id[:18]) if object_id.isdecimal() else 0
        chosen = self.get_queryset(request).filter(pk=key)
        if not (obj := chosen.first()):
            raise Http404
        if not self.has_delete_permission(request, obj):
            raise PermissionDenied
        name = self.model._meta.model_name
        listed = reverse(f"admin:{self.model._meta.app_label}_{name}_changelist")
        answer = self._ask_or_delete(request, chosen)
        return answer or HttpResponseRedirect(listed)

    def _ask_or_delete(
        self, request: HttpRequest, chosen: QuerySet[Any]
    ) -> HttpResponse | None:
        """Return the page that asks; None after the deletion."""
        conversations = Conversation.objects.filter(
            **{f"{self.conversation_lookup}__in": chosen.order_by().values("pk")}
        ).order_by()
        runs = Run.objects.filter(conversation__in=conversations).order_by()
        active = runs.filter(IS_ACTIVE)[:MOST_LISTED]
        protected = [display.link(run, f"Run {run}: still running") for run in active]
        if request.POST.get("post") and not protected:
            self._delete(request, chosen)
            return None
        title = f"{'Cannot delete' if protected else 'Delete'} {plural(self.model)}"
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.model._meta,
            "media": self.media,
            "protected": protected,
            "counts": self._counts(chosen, conversations, runs),
            "listed": [display.link(each) for each in chosen[:MOST_LISTED]],
            "more": chosen[MOST_LISTED : MOST_LISTED + 1].exists(),
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/streaming/delete.html", context)

    def _counts(
        self,
        chosen: QuerySet[Any],
        conversations: QuerySet[Conversation],
        runs: QuerySet[Run],
    ) -> dict[str, str]:
        """Return the numbers of rows by their kind."""
        messages = Message.objects.filter(conversation__in=conversations).order_by()
        most = MOST_COUNTED + 1
        counts: dict[str, int] = {
            plural(rows.model): rows[:most].count()
            for rows in (chosen.order_by(), conversations, runs, messages)
        }
        counts["event segments"] = stored_log().count_segments(runs, most)
        return {
            name: f"more than {MOST_COUNTED:,}" if count == most else f"{count:,}"
            for name, count in counts.items()
        }

    def _delete(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Delete the chosen rows, as many as the time of a request allows."""
        deadline = time.monotonic() + self.seconds
        count = 0
        while rows := list(chosen.order_by("pk")[:TOGETHER]):
            self.before_deletion(request, rows)
            delete = self.delete_keys([row.pk for row in rows])
            left = deadline - time.monotonic()
            if not deletion.delete_from_thread(delete, max(left, 0.0)):
                report = (
                    f"{_counted(count, self.model)} deleted, and a part of the others. "
                    "The time limit of a request was reached: repeat the deletion."
                )
                return self.message_user(request, report, messages.WARNING)
            # Django only iterates over them.
            self.log_deletions(request, cast("QuerySet[Any]", rows))
            for row in rows:
                self._record(request, row)
            count += len(rows)
        report = f"{_counted(count, self.model)} deleted."
        self.message_user(request, report, messages.SUCCESS)

    def _record(self, request: HttpRequest, row: Any) -> None:  # noqa: ANN401
        """Add the deletion of a row to the audit log."""
        organization = getattr(row, "organization", row)
        audit.record(
            f"{self.model._meta.model_name}.deleted",
            actor=audit.user_name(request.user.pk),
            target=f"{self.model._meta.model_name}:{row.pk}",
            org_id=organization.org_id,
        )


def _counted(count: int, model: type[Model]) -> str:
    return f"{count:,} {model._meta.verbose_name if count == 1 else plural(model)}"
