"""Conversations of an organization: list, read, forget."""

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import runs
from streaming.api import payloads
from streaming.api.endpoint import endpoint, json_response
from streaming.api.schemas import OrgQuery, PageQuery, parse_query
from streaming.exceptions import FieldError, InvalidRequest, NotFound
from streaming.models import Conversation, Run, RunStatus
from streaming.storage import database

NO_CONVERSATION = "There is no such conversation in this organization."


@endpoint("GET")
async def index(request: HttpRequest) -> HttpResponseBase:
    """The conversations of an organization, newest first, in pages."""
    query = parse_query(PageQuery, request.GET)
    return json_response(await database.execute_read(_page, query))


@endpoint("GET", "DELETE")
async def detail(request: HttpRequest, conversation_id: str) -> HttpResponseBase:
    """A conversation with its messages; or forget it, its runs and events too."""
    query = parse_query(OrgQuery, request.GET)
    if request.method != "DELETE":
        return json_response(
            await database.execute_read(_read, query.org_id, conversation_id)
        )
    delete = partial(database.execute_write, _delete, query.org_id, conversation_id)
    for run_id in await database.retry_while_unavailable(
        delete
    ):  # a run that begins meanwhile undoes it
        runs.executor().stop(run_id)
    return HttpResponse(status=204)


def _page(query: PageQuery) -> dict[str, Any]:
    rows = Conversation.objects.filter(organization__org_id=query.org_id)
    if text := query.search.strip():
        rows = _matching(rows, text)
    if query.cursor:
        updated_at, pk = _read_cursor(query.cursor)
        rows = rows.filter(
            Q(updated_at__lt=updated_at) | Q(updated_at=updated_at, pk__lt=pk)
        )
    found = list(rows.order_by("-updated_at", "-id")[: query.limit + 1])
    page = found[: query.limit]
    return {
        "conversations": _summaries(page),
        "next_cursor": _cursor(page[-1]) if len(found) > len(page) else None,
    }


def _read(org_id: str, conversation_id: str) -> dict[str, Any]:
    conversation = _get(org_id, conversation_id)
    [summary] = _summaries([conversation])
    messages = conversation.messages.order_by("id")
    # What was asked stands among the messages already.
    of_conversation = conversation.runs.defer("input", "context")
    return summary | {
        "org_id": org_id,
        "messages": [payloads.message(row) for row in messages],
        "runs": [
            payloads.run_outcome(run)
            for run in of_conversation.order_by("created_at", "id")
        ],
    }


def _matching(rows: QuerySet[Conversation], text: str) -> QuerySet[Conversation]:
    """Those whose title or whole first input has the text, in whatever case.

    By regular expression, since SQLite's LIKE knows no case but that of ASCII.
    """
    first = Run.objects.filter(conversation=OuterRef("pk")).order_by("created_at", "id")
    pattern = re.escape(text)
    return rows.annotate(first_input=Subquery(first.values("input")[:1])).filter(
        Q(title__iregex=pattern) | Q(first_input__iregex=pattern)
    )


def _summaries(rows: Sequence[Conversation]) -> list[dict[str, Any]]:
    under_way = Run.objects.filter(conversation__in=rows, status=RunStatus.RUNNING)
    active = dict(under_way.values_list("conversation_id", "id"))
    return [payloads.conversation_summary(row, active.get(row.pk)) for row in rows]


def _delete(org_id: str, conversation_id: str) -> list[str]:
    """Delete; return the runs that were under way."""
    conversation = _get(org_id, conversation_id)
    # Who writes in a run locks first the run, then its conversation: so do we, or what
    # is being written would be left behind.
    locked = conversation.runs.order_by("id").select_for_update()
    status_of = dict(locked.values_list("id", "status"))
    Conversation.objects.select_for_update().filter(pk=conversation.pk).exists()
    conversation.delete()
    return [run for run, status in status_of.items() if status == RunStatus.RUNNING]


def _get(org_id: str, conversation_id: str) -> Conversation:
    if "\0" in conversation_id:  # PostgreSQL takes none, not even to look for
        raise NotFound(NO_CONVERSATION)
    found = Conversation.objects.filter(
        organization__org_id=org_id, conversation_id=conversation_id
    ).first()
    if found is None:
        raise NotFound(NO_CONVERSATION)
    return found


def _cursor(row: Conversation) -> str:
    text = f"{row.updated_at.isoformat()}|{row.pk}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        time, pk = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        return datetime.fromisoformat(time).astimezone(UTC), int(pk[:18])
    except (ValueError, OverflowError):
        message = "must be a next_cursor of an earlier page"
        raise InvalidRequest([FieldError("cursor", message)]) from None
