"""The export of an organization's or a user's data as lines of JSON.

The first line describes the export and the last one counts its rows: an export without
a last line is incomplete. Rows are read in pages, so that the memory that an export
needs does not depend on its size.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from django.db.models import Field, Model, QuerySet

from streaming.event_log import stored_log
from streaming.models import Message, Run
from streaming.personal_data.selection import Selection, in_pages, own_models
from streaming.storage.sql import database_time

FORMAT = 1
#: A message may have megabytes.
MESSAGES = 20
#: Fields that are exported nowhere.
SECRETS = {"secret_hash"}

Line = tuple[str, Mapping[str, Any]]


def export_lines(chosen: Selection) -> Iterator[bytes]:
    """Yield the lines of an export, each with its line end."""
    counts: Counter[str] = Counter()
    head = {
        "format": FORMAT,
        "organization": chosen.organization.org_id,
        "user": chosen.user or None,
        "created_at": database_time(),
    }
    yield _encode("export", head)
    for kind, fields in _rows(chosen):
        counts[kind] += 1
        yield _encode(kind, fields)
    yield _encode("end", {"counts": counts})


def _rows(chosen: Selection) -> Iterator[Line]:
    if not chosen.user:
        yield _line(chosen.organization)
    for conversation in in_pages(chosen.conversations):
        yield _line(conversation)
        for run in in_pages(Run.objects.filter(conversation=conversation)):
            yield from _run(run)
        messages = Message.objects.filter(conversation=conversation)
        yield from _lines(messages, MESSAGES)
    for run in in_pages(chosen.shared_runs):
        yield from _run(run)
        yield from _lines(Message.objects.filter(run=run), MESSAGES)
    yield from _lines(chosen.copied_messages, MESSAGES)
    for model in own_models():
        yield from _lines(chosen.rows(model))
    yield from _lines(chosen.audit_records)


def _run(run: Run) -> Iterator[Line]:
    yield _line(run)
    yield from map(_line, run.inputs.order_by("number"))
    log, after = stored_log(), 0
    while entries := log.read(run.id, after):
        for entry in entries:
            event = msgspec.Raw(entry.data)
            yield "event", {"run_id": run.id, "number": entry.number, "event": event}
        after = entries[-1].number


def _lines(rows: QuerySet[Any], size: int = 100) -> Iterator[Line]:
    return map(_line, in_pages(rows, size))


def _line(row: Model) -> Line:
    fields = {
        field.attname: field.value_from_object(row)
        for field in row._meta.get_fields()
        if isinstance(field, Field) and field.attname not in SECRETS
    }
    return str(row._meta.model_name), fields


def _encode(kind: str, fields: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, **fields}, enc_hook=str) + b"\n"
