"""The pages of workers: the processes that execute runs, and the runs of each."""

from datetime import timedelta

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from streaming import audit, conf
from streaming.admin import display
from streaming.admin.history import HistoryAdmin
from streaming.models import Run, RunStatus, Worker
from streaming.runs.worker_rows import request_drain
from streaming.storage.alias import app_alias
from streaming.storage.sql import database_time

#: Runs that the page of a worker lists.
MOST_RUNS = 100
#: The colours of the states of runs that mean the same.
_COLOURS = {
    "serving": "completed",
    "draining": "running",
    "drained": "cancelled",
    "lost": "failed",
}


def state_of(worker: Worker) -> str:
    """Return the state of a process: serving, draining, drained, or lost."""
    silence = database_time() - worker.heartbeat_at
    if silence > timedelta(seconds=conf.get().run_lease_seconds):
        return "lost"
    if worker.drain_requested_at is None:
        return "serving"
    return "draining" if worker.executing else "drained"


class WorkerAdmin(HistoryAdmin):
    """Workers as they last reported themselves; an operator drains them."""

    list_display = (
        "process",
        "state",
        "runs",
        "open_streams",
        "host",
        "pid",
        "version",
        "started",
        "last_report",
    )
    list_filter = ("host", "version")
    search_fields = ("name", "host")
    search_help_text = "By name or host"
    actions = ("drain",)
    fields = (
        ("process", "state", "runs", "open_streams"),
        ("host", "pid", "version"),
        ("started", "last_report", "drain_requested"),
        "executed",
    )

    process = display.column("name", str, "worker")
    started = display.column("started_at", display.moment, "started")
    last_report = display.column("heartbeat_at", display.moment, "last report")
    drain_requested = display.column(
        "drain_requested_at", display.moment, "drain requested"
    )

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return false: rows of ended processes are deleted by the other processes."""
        return False

    def has_drain_permission(self, request: HttpRequest) -> bool:
        """Return true for users with permission to change workers: to drain them."""
        return request.user.has_perm("streaming.change_worker")

    @admin.action(description="Drain selected workers", permissions=["drain"])
    def drain(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        """Ask processes to start no more runs, and to hand over those that last."""
        names = [worker.name for worker in queryset]
        with transaction.atomic(app_alias()):
            asked = request_drain(names)
            for name in asked:
                audit.record(
                    "worker.drained",
                    actor=audit.user_name(request.user.pk),
                    target=f"worker:{name}",
                )
        for worker in queryset:
            if worker.name in asked:
                self.log_change(request, worker, "Told to drain.")
        if asked:
            report = (
                f"{len(asked)} of {len(names)} workers told to drain: each starts "
                "within about five seconds."
            )
            self.message_user(request, report, messages.SUCCESS)
        else:
            none = "Nothing to do: these workers had been told to drain before."
            self.message_user(request, none, messages.WARNING)

    @admin.display(description="state")
    def state(self, worker: Worker) -> str:
        """Return the state as a coloured badge."""
        state = state_of(worker)
        return display.badge(_COLOURS[state], state)

    @admin.display(description="runs", ordering="executing")
    def runs(self, worker: Worker) -> SafeString:
        """Return the number of runs, with a link to the list of them."""
        filters = {
            "worker": worker.name,
            "status__exact": RunStatus.RUNNING.value,
        }
        return display.list_link(Run, display.number(worker.executing), **filters)

    @admin.display(description="runs that it executes")
    def executed(self, worker: Worker) -> SafeString:
        """Return links to the runs of the process, the oldest first."""
        held = Run.objects.filter(worker=worker.name, status=RunStatus.RUNNING)
        return display.links(list(held.order_by("created_at")[:MOST_RUNS]))
