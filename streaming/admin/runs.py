"""The list of runs, and the page of one: request, outcome, usage and timeline."""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import F, Model, QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.utils.html import format_html

from streaming import runs
from streaming.admin import display
from streaming.admin.filters import OrganizationFilter, ValueFilter
from streaming.admin.history import HistoryAdmin
from streaming.admin.timeline import timeline
from streaming.models import IS_ACTIVE, LogState, Run

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
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return preformatted(text) if value else display.EMPTY


def yes_or_no(value: bool) -> str:
    """Return a flag as a word."""
    return "yes" if value else "no"


def log_state(value: str) -> str:
    """Return the label of an event log's state."""
    return str(LogState(value).label)


def names(values: list[str]) -> str:
    """Join names."""
    return ", ".join(values) or display.EMPTY


class RunAdmin(HistoryAdmin):
    """Runs with their outcome; the page of one is the timeline of its events."""

    list_display = (
        "run",
        "state",
        "asked",
        "engine",
        "tokens",
        "took",
        "first_token",
    )
    list_filter = (
        "status",
        ("organization", OrganizationFilter),
        ("provider", ValueFilter),
        ("model", ValueFilter),
        ("stop_reason", ValueFilter),
        ("error_code", ValueFilter),
        "background",
        "created_at",
    )
    list_select_related = ("organization", "conversation")
    search_fields = (
        "id",
        "organization__org_id",
        "conversation__conversation_id",
        "input",
    )
    search_help_text = "By run id, organization id, conversation id, or input"
    actions = ("cancel_runs",)
    fieldsets = (
        (
            "Request",
            {
                "fields": (
                    ("organization_link", "conversation_link"),
                    ("engine", "max_iterations", "in_background", "idempotency_key"),
                    "question",
                    "context_given",
                )
            },
        ),
        (
            "Usage, times and process",
            {
                "classes": ("collapse",),
                "fields": (
                    ("reasoning", "cache_read", "cache_written", "tools"),
                    ("created", "first_token_time", "ended", "cancel_requested"),
                    ("last_alive", "last_read", "worker", "event_log"),
                ),
            },
        ),
    )

    organization_link = display.column("organization", display.link, "organization")
    conversation_link = display.column("conversation", display.link, "conversation")
    tokens = display.column("total", display.number, "tokens")
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
    event_log = display.column("log_state", log_state, "event log")
    in_background = display.column("background", yes_or_no, "background")
    tools = display.column("used_tools", names, "used tools")
    question = display.column("input", preformatted, "input")
    context_given = display.column("context", pretty, "context")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Add the columns of the list, and leave out the long texts."""
        queryset: QuerySet[Run] = super().get_queryset(request)
        return queryset.defer("input", "context").annotate(
            beginning=Substr("input", 1, 120),
            total=F("input_tokens") + F("output_tokens"),
            waited=F("first_token_at") - F("created_at"),
            lasted=F("ended_at") - F("created_at"),
        )

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
        active = list(queryset.filter(IS_ACTIVE, cancel_requested_at=None))
        cancelled = runs.cancel_from_thread([run.pk for run in active])
        asked = len(cancelled)
        for run in active:
            if run.pk in cancelled:
                self.log_change(request, run, "Told to stop.")
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
