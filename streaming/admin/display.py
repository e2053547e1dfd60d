"""Display values in the admin. All text from the database is escaped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from streaming.models import Run, RunStatus

EMPTY = "–"


@dataclass(frozen=True)
class Clip:
    """The beginning of a text, and the number of characters left out."""

    text: str
    hidden: int = 0


def clip(text: str, limit: int | None) -> Clip:
    """Return the first `limit` characters, or all of them if it is None."""
    shown = text[:limit]
    return Clip(shown, len(text) - len(shown))


Cell = Callable[[object, models.Model], str]


def column(field: str, show: Callable[[Any], str], description: str) -> Cell:
    """Return a column that shows a field through `show`, and sorts by it."""

    @admin.display(description=description, ordering=field)
    def cell(_: object, row: models.Model) -> str:
        return show(getattr(row, field))

    return cell


def counted(field: str, model: type[models.Model], owner: str) -> Cell:
    """Return a column that links to the rows of `model` whose `owner` is the row.

    `field` holds their count.
    """

    @admin.display(description=model._meta.verbose_name_plural, ordering=field)
    def cell(_: object, row: models.Model) -> str:
        filters = {f"{owner}__id__exact": row.pk}
        return list_link(model, number(getattr(row, field)), **filters)

    return cell


def link(instance: models.Model, text: str = "") -> SafeString:
    """Return a link to the page of `instance`."""
    name = f"admin:{instance._meta.app_label}_{instance._meta.model_name}_change"
    url = reverse(name, args=[quote(instance.pk)])
    return format_html('<a href="{}">{}</a>', url, text or str(instance))


def list_link(model: type[models.Model], text: str, **filters: object) -> SafeString:
    """Return a link to the filtered list of a model."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode(filters), text)


def links(instances: Sequence[models.Model]) -> SafeString:
    """Return links to the pages of some rows."""
    shown = ((link(each),) for each in instances)
    return format_html_join(", ", "{}", shown) or format_html("{}", EMPTY)


def text(value: str) -> str:
    """Return a text, or the sign for none."""
    return value or EMPTY


def number(value: int) -> str:
    """Format 12345 as 12,345."""
    return f"{value:,}"


def duration(length: timedelta | None) -> str:
    """Format a length of time with two or three significant digits."""
    if length is None:
        return EMPTY
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(at: datetime | None) -> str | SafeString:
    """Format a point in time, to the second."""
    if at is None:
        return EMPTY
    local = timezone.localtime(at)
    return format_html(
        '<time datetime="{}">{}</time>',
        local.isoformat(),
        local.strftime("%Y-%m-%d %H:%M:%S"),
    )


def short_id(run: Run) -> str:
    """Return the random end of a run's id: neighbours begin with a similar time."""
    return f"…{run.pk[-8:]}"


def status(run: Run) -> SafeString:
    """Return the status as a coloured badge; a requested cancel shows as one."""
    label = str(RunStatus(run.status).label)
    if run.cancel_requested_at and not run.has_ended:
        label = "cancelling"
    return badge(RunStatus(run.status).value, label)


def badge(status: str, label: str) -> SafeString:
    """Return a label in the colour of a status of runs."""
    return format_html('<span class="run-status run-{}">{}</span>', status, label)


def took(run: Run) -> str:
    """Format the duration of a run, or its duration so far."""
    if run.ended_at is None:
        return f"{duration(timezone.now() - run.created_at)} so far"
    return duration(run.ended_at - run.created_at)


def first_token(run: Run) -> str:
    """Format the time until the model's first word."""
    if run.first_token_at is None:
        return EMPTY
    return duration(run.first_token_at - run.created_at)


def facts(run: Run) -> dict[str, str]:
    """Return the facts of a run that fit on one line."""
    return {
        "link": link(run, f"Run {short_id(run)}"),
        "status": status(run),
        "took": took(run),
        "first_token": first_token(run),
        "tokens": number(run.total_tokens),
    }


def pretty_json(text: str) -> str:
    """Indent JSON; return any other text unchanged."""
    try:
        return msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return text
