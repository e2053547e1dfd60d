"""Conversations of an organization: list, read, delete."""

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import runs
from streaming.api import payloads
from streaming.api.access import Principal
from streaming.api.endpoint import endpoint
from streaming.api.responses import json_response
from streaming.api.schemas import OrgQuery, PageQuery, query
from streaming.exceptions import FieldError, InvalidRequest, NotFound
from streaming.models import IS_ACTIVE, Conversation, Run
from streaming.runs.deletion import delete_conversation
from streaming.storage import database

NO_CONVERSATION = "There is no such conversation in this organization."


@endpoint("GET", reads=query(PageQuery))
async def index(
    request: HttpRequest, principal: Principal, asked: PageQuery
) -> HttpResponseBase:
    """List the conversations of an organization, newest first, in pages."""
    lane = database.SEARCH if asked.search else database.READ
    page = await database.execute_read_in(
        lane, list_conversations, principal.org_id, asked
    )
    return json_response(page)


@endpoint("GET", "DELETE", reads=query(OrgQuery))
async def detail(
    request: HttpRequest, principal: Principal, _: OrgQuery, conversation_id: str
) -> HttpResponseBase:
    """Return a conversation with its messages, or delete it and its runs."""
    org_id = principal.org_id
    if request.method != "DELETE":
        return json_response(
            await database.execute_read_in(
                database.CONVERSATIONS, _read, org_id, conversation_id
            )
        )
    service = runs.get_service()
    pk, active = await database.execute_read(_deletable, org_id, conversation_id)
    # Stopped before: an execution that finds its run deleted ends as interrupted.
    for run_id in active:
        service.executor.stop(run_id)
    for run_id in await delete_conversation(database.default, pk):
        service.executor.stop(run_id)
    return HttpResponse(status=204)


def list_conversations(org_id: str, asked: PageQuery) -> dict[str, Any]:
    """Return one page of an organization's conversations."""
    rows = Conversation.objects.filter(organization__org_id=org_id)
    if text := asked.search.strip():
        rows = _matching(rows, text)
    if asked.cursor:
        updated_at, pk = _read_cursor(asked.cursor)
        rows = rows.filter(
            Q(updated_at__lt=updated_at) | Q(updated_at=updated_at, pk__lt=pk)
        )
    found = list(rows.order_by("-updated_at", "-id")[: asked.limit + 1])
    page = found[: asked.limit]
    return {
        "conversations": _summaries(page),
        "next_cursor": _cursor(page[-1]) if len(found) > len(page) else None,
    }


def _read(org_id: str, conversation_id: str) -> dict[str, Any]:
    conversation = _get(org_id, conversation_id)
    [summary] = _summaries([conversation])
    messages = conversation.messages.order_by("id")
    # The input is among the messages already.
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
    """Select conversations with the text in their title or first input, in any case.

    A regular expression is used since SQLite's LIKE ignores the case of ASCII only.
    """
    first = Run.objects.filter(conversation=OuterRef("pk")).order_by("created_at", "id")
    pattern = re.escape(text)
    return rows.annotate(first_input=Subquery(first.values("input")[:1])).filter(
        Q(title__iregex=pattern) | Q(first_input__iregex=pattern)
    )


def _summaries(rows: Sequence[Conversation]) -> list[dict[str, Any]]:
    active = Run.objects.filter(IS_ACTIVE, conversation__in=rows)
    run_of = dict(active.values_list("conversation_id", "id"))
    return [payloads.conversation_summary(row, run_of.get(row.pk)) for row in rows]


def _deletable(org_id: str, conversation_id: str) -> tuple[int, list[str]]:
    """Return the key of a conversation, and its active runs."""
    conversation = _get(org_id, conversation_id)
    active = conversation.runs.filter(IS_ACTIVE)
    return conversation.pk, list(active.values_list("id", flat=True))


def _get(org_id: str, conversation_id: str) -> Conversation:
    if "\0" in conversation_id:  # PostgreSQL refuses it, even in a query
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
