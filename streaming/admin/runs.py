"""The list of runs, and the page of one: request, outcome, usage and timeline."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import F, Model, Q, QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.utils.html import format_html

from streaming import audit, runs
from streaming.admin import display
from streaming.admin.filters import OrganizationFilter, values_of
from streaming.admin.history import HistoryAdmin
from streaming.admin.inputs import steering_texts
from streaming.admin.queries import conversation_with, words_of
from streaming.admin.timeline import timeline
from streaming.agents import registry
from streaming.models import (
    HAS_NOT_ENDED,
    Conversation,
    LogState,
    Run,
    RunStatus,
    Worker,
)
from streaming.storage.alias import app_alias

ROWS_PER_PAGE = 200
MOST_CHARACTERS = 2_000


def preformatted(text: str) -> str:
    """Return the text with its line ends, clipped to the limit of the page."""
    if not text:
        return display.EMPTY
    shown = display.clip(text, MOST_CHARACTERS)
    more = f" … {shown.hidden:,} more characters" if shown.hidden else ""
    return format_html(
        '<div class="run-text" tabindex="0">{}{}</div>', shown.text, more
    )


def pretty(value: object) -> str:
    """Return a JSON value with indents."""
    return pretty_json(msgspec.json.encode(value).decode()) if value else display.EMPTY


def pretty_json(text: str) -> str:
    """Return JSON with indents."""
    return preformatted(msgspec.json.format(text, indent=2) if text else "")


def yes_or_no(value: bool) -> str:
    """Return a flag as a word."""
    return "yes" if value else "no"


def log_state(value: str) -> str:
    """Return the label of an event log's state."""
    return str(LogState(value).label)


def names(values: list[str]) -> str:
    """Join names."""
    return ", ".join(values) or display.EMPTY


def in_dollars(cost: Decimal | None) -> str:
    """Format a cost; a run of a model without a known price has none."""
    return display.EMPTY if cost is None else f"${cost:,.4f}"


def worker_link(name: str) -> str:
    """Return a link to the process that executes a run, or executed it last."""
    return display.list_link(Worker, name, q=name) if name else display.EMPTY


class RunAdmin(HistoryAdmin):
    """Runs with their outcome; the page of one is the timeline of its events."""

    list_display = (
        "run",
        "state",
        "asked",
        "engine",
        "tokens",
        "price",
        "took",
        "first_token",
        "agent_name",
        "user_key",
        "process",
    )
    list_filter = (
        "status",
        OrganizationFilter,
        *values_of("agent", "provider", "model", "stop_reason", "error_code", "worker"),
        "background",
        "created_at",
    )
    list_select_related = ("organization", "conversation")
    search_fields = ("id",)
    search_help_text = (
        "By run id, organization id, conversation id, or the conversation's title and "
        "beginning"
    )
    actions = ("cancel_runs", "requeue_runs")
    fieldsets = (
        (
            "Request",
            {
                "fields": (
                    ("organization_link", "conversation_link"),
                    ("agent_name", "user_key", "owner_key"),
                    ("engine", "max_iterations", "in_background", "idempotency_key"),
                    "prompt",
                    "steered",
                    "context_given",
                    "structured",
                )
            },
        ),
        (
            "Usage, times and process",
            {
                "classes": ("collapse",),
                "fields": (
                    ("price", "reasoning", "cache_read", "cache_written", "tools"),
                    ("created", "first_token_time", "ended", "cancel_requested"),
                    ("last_alive", "last_read", "process", "event_log"),
                    ("queue", "priority"),
                    ("attempt", "crashes", "allows_restarts"),
                ),
            },
        ),
    )

    organization_link = display.column("organization", display.link, "organization")
    conversation_link = display.column("conversation", display.link, "conversation")
    agent_name = display.column("agent", registry.display_name, "agent")
    user_key = display.column("user", display.text, "user")
    owner_key = display.column("owner", display.text, "owner")
    tokens = display.column("total", display.number, "tokens")
    price = display.column("cost", in_dollars, "cost")
    created = display.column("created_at", display.moment, "created")
    first_token_time = display.column("first_token_at", display.moment, "first token")
    ended = display.column("ended_at", display.moment, "ended")
    last_alive = display.column("heartbeat_at", display.moment, "last heartbeat")
    last_read = display.column("last_reader_at", display.moment, "last reader")
    cancel_requested = display.column(
        "cancel_requested_at", display.moment, "cancel requested"
    )
    reasoning = display.column("reasoning_tokens", display.number, "reasoning tokens")
    cache_read = display.column(
        "cache_read_tokens", display.number, "tokens read from cache"
    )
    cache_written = display.column(
        "cache_write_tokens", display.number, "tokens written to cache"
    )
    process = display.column("worker", worker_link, "process")
    event_log = display.column("log_state", log_state, "event log")
    in_background = display.column("background", yes_or_no, "background")
    allows_restarts = display.column("restarts", yes_or_no, "readers accept restarts")
    tools = display.column("used_tools", names, "used tools")
    prompt = display.column("input", preformatted, "input")
    steered = display.column("pk", steering_texts, "steering texts")
    context_given = display.column("context", pretty, "context")
    structured = display.column("structured_output", pretty_json, "structured output")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Add the columns of the list, and leave out the long texts."""
        queryset: QuerySet[Run] = super().get_queryset(request)
        return queryset.defer("input", "context", "structured_output").annotate(
            beginning=Substr("input", 1, 120),
            total=F("input_tokens") + F("output_tokens"),
            waited=F("first_token_at") - F("created_at"),
            lasted=F("ended_at") - F("created_at"),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """Return runs with each word in their id or conversation; no duplicates.

        Each half of the condition is a query of its own, which an index answers: the
        inputs in the rows of runs would have to be read otherwise.
        """
        for word in words_of(search_term):
            conversations = Conversation.objects.filter(conversation_with(word))
            of_conversation = Run.objects.filter(conversation__in=conversations)
            by_id = Run.objects.filter(pk__icontains=word)
            queryset = queryset.filter(
                Q(pk__in=of_conversation.values("pk")) | Q(pk__in=by_id.values("pk"))
            )
        return queryset, False

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return false: without this run its conversation would be incomplete."""
        return False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Return true for users with permission to change runs: to cancel them."""
        return request.user.has_perm("streaming.change_run")

    def get_fieldsets(self, request: HttpRequest, obj: Run | None = None) -> Any:  # noqa: ANN401
        """Return the fieldsets without the optional fields that the client omitted."""
        omitted = {
            name
            for name, value in (
                ("idempotency_key", obj and obj.idempotency_key),
                ("context_given", obj and obj.context),
                ("steered", obj and obj.inputs.exists()),
                ("structured", obj and obj.structured_output),
            )
            if not value
        }
        return [
            (title, {**options, "fields": _without(omitted, options["fields"])})
            for title, options in self.fieldsets
        ]

    def page_context(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        """Return one page of the timeline's rows."""
        drawn = timeline(run)
        page = Paginator(drawn.rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))
        drawn.draw(page)
        return {
            "title": f"Run {display.short_id(run)}",
            "timeline": drawn,
            "page": page,
            "facts": display.facts(run),
            "can_cancel": drawn.running
            and not run.cancel_requested_at
            and self.has_cancel_permission(request),
        }

    @admin.action(description="Cancel selected runs", permissions=["cancel"])
    def cancel_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Ask the processes that own these runs to stop them, at the provider too."""
        chosen = queryset.count()
        active = list(queryset.filter(HAS_NOT_ENDED, cancel_requested_at=None))
        cancelled = runs.cancel_from_thread([run.pk for run in active])
        asked = len(cancelled)
        for run in active:
            if run.pk in cancelled:
                self.log_change(request, run, "Told to stop.")
                audit.record(
                    "run.cancelled",
                    actor=audit.user_name(request.user.pk),
                    target=f"run:{run.pk}",
                    org_id=run.organization.org_id,
                )
        told = (
            f"{asked} of {chosen} runs told to stop: each ends within about a second."
        )
        if asked:
            self.message_user(request, told, messages.SUCCESS)
        else:
            none = (
                "Nothing to cancel: these runs had ended or been told to stop before."
            )
            self.message_user(request, none, messages.WARNING)

    @admin.action(
        description="Return selected runs to the queue", permissions=["cancel"]
    )
    def requeue_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Take running runs from their processes, for any process to continue them."""
        chosen = queryset.count()
        running = queryset.filter(status=RunStatus.RUNNING)
        requeued = sum(self._requeue(request, run) for run in list(running))
        report = f"{requeued} of {chosen} runs returned to the queue."
        if requeued < chosen:
            report += (
                " The others do not run, or their clients do not accept a restart of "
                "the answer: cancel them instead."
            )
        level = messages.SUCCESS if requeued else messages.WARNING
        self.message_user(request, report, level)

    def _requeue(self, request: HttpRequest, run: Run) -> bool:
        """Return a run to the queue and record it, in one transaction."""
        with transaction.atomic(app_alias()):
            transaction.on_commit(runs.wake_executors, using=app_alias())
            if not runs.requeue([run.pk]):
                return False
            self.log_change(request, run, "Returned to the queue.")
            audit.record(
                "run.requeued",
                actor=audit.user_name(request.user.pk),
                target=f"run:{run.pk}",
                org_id=run.organization.org_id,
                details={"worker": run.worker},
            )
        return True

    @admin.display(description="run", ordering="created_at")
    def run(self, run: Run) -> str:
        """Return the distinctive end of the id, and the time."""
        at = display.moment(run.created_at)
        return format_html("{}<small>{}</small>", display.short_id(run), at)

    @admin.display(ordering="input")
    def asked(self, run: Any) -> str:  # noqa: ANN401  (a run with annotations)
        """Return the beginning of the input, the organization and the conversation."""
        return format_html(
            "{}<small>{} › {}</small>",
            run.beginning,
            display.link(run.organization),
            display.link(run.conversation),
        )

    @admin.display(description="status", ordering="status")
    def state(self, run: Run) -> str:
        """Return the status as a coloured badge."""
        return display.status(run)

    @admin.display(description="model", ordering="model")
    def engine(self, run: Run) -> str:
        """Return the model and its provider."""
        return format_html("{} <small>{}</small>", run.model, run.provider)

    @admin.display(description="duration", ordering="lasted")
    def took(self, run: Run) -> str:
        """Return the duration, or the duration so far."""
        return display.took(run)

    @admin.display(description="first token", ordering="waited")
    def first_token(self, run: Run) -> str:
        """Return the time until the model's first word."""
        return display.first_token(run)


def _without(omitted: set[str], rows: Sequence[Any]) -> list[Any]:
    """Return the rows of fields without some fields."""
    kept = [
        row if isinstance(row, str) else tuple(f for f in row if f not in omitted)
        for row in rows
    ]
    return [row for row in kept if row not in omitted]
