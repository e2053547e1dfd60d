"""Conversations of an organization: list, read, forget."""

import base64
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import db, runs
from streaming.exceptions import FieldError, InvalidRequest, NotFound
from streaming.http import endpoint, json_response
from streaming.models import Conversation, RunStatus
from streaming.schemas import OrgQuery, PageQuery, parse_query
from streaming.views import payloads

NO_CONVERSATION = "There is no such conversation in this organization."


@endpoint("GET")
async def index(request: HttpRequest) -> HttpResponseBase:
    """The conversations of an organization, newest first, in pages."""
    query = parse_query(PageQuery, request.GET)
    return json_response(await db.read(_page, query))


@endpoint("GET", "DELETE")
async def detail(request: HttpRequest, conversation_id: str) -> HttpResponseBase:
    """A conversation with its messages; or forget it, its runs and events too."""
    query = parse_query(OrgQuery, request.GET)
    if request.method != "DELETE":
        return json_response(await db.read(_read, query.org_id, conversation_id))
    stopped = await db.write(_delete, query.org_id, conversation_id)
    for run_id in stopped:
        runs.executor().stop(run_id)
    return HttpResponse(status=204)


def _page(query: PageQuery) -> dict[str, Any]:
    rows = Conversation.objects.filter(organization__org_id=query.org_id)
    if query.cursor:
        updated_at, pk = _read_cursor(query.cursor)
        rows = rows.filter(
            Q(updated_at__lt=updated_at) | Q(updated_at=updated_at, pk__lt=pk)
        )
    found = list(rows.order_by("-updated_at", "-id")[: query.limit + 1])
    page = found[: query.limit]
    return {
        "conversations": [payloads.conversation_summary(row) for row in page],
        "next_cursor": _cursor(page[-1]) if len(found) > len(page) else None,
    }


def _read(org_id: str, conversation_id: str) -> dict[str, Any]:
    conversation = _get(org_id, conversation_id)
    running = conversation.runs.filter(status=RunStatus.RUNNING).first()
    messages = conversation.messages.order_by("id")
    return payloads.conversation_summary(conversation) | {
        "org_id": org_id,
        "running": running.id if running else None,
        "messages": [payloads.message(row) for row in messages],
    }


def _delete(org_id: str, conversation_id: str) -> list[str]:
    """Delete; return the runs that were under way."""
    conversation = _get(org_id, conversation_id)
    running = conversation.runs.filter(status=RunStatus.RUNNING)
    stopped = list(running.values_list("id", flat=True))
    conversation.delete()
    return stopped


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
