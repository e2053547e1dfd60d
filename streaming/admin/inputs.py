"""The texts that have steered a run, as its page shows them."""

from django.utils.html import format_html, format_html_join

from streaming.admin import display
from streaming.models import Run, RunInput

MOST_CHARACTERS = 500


def steering_texts(run_id: str) -> str:
    """Return the texts for a run, each with what has become of it."""
    rows = RunInput.objects.filter(run=run_id).select_related("run").order_by("number")
    shown = [(row, display.clip(row.text, MOST_CHARACTERS)) for row in rows]
    lines = (
        (
            display.moment(row.created_at),
            _state(row),
            clip.text,
            "…" * bool(clip.hidden),
        )
        for row, clip in shown
    )
    return format_html(
        "<ul>{}</ul>", format_html_join("", "<li>{}, {}: {}{}</li>", lines)
    )


def _state(row: RunInput) -> str:
    following = Run.objects.filter(pk=row.next_run).first() if row.next_run else None
    if following:
        return format_html("became {}", display.link(following))
    if row.next_run:
        return "became a run that was deleted"
    if row.taken_at:
        return "taken"
    return "not taken" if row.run.has_ended else "waits"
