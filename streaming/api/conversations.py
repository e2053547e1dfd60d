"""Conversations of an organization: list, read, delete."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import runs
from streaming.aio.turns import TooManyWaiting, Turns
from streaming.api import cursors, payloads
from streaming.api.endpoint import endpoint
from streaming.api.message_pages import message_page
from streaming.api.responses import json_response
from streaming.api.schemas import ConversationQuery, PageQuery, query
from streaming.exceptions import NotFound, RateLimited
from streaming.models import IS_ACTIVE, Conversation, Run
from streaming.principals import Principal
from streaming.runs.deletion import delete_conversations
from streaming.storage import database
from streaming.storage.search import matching

NO_CONVERSATION = "There is no such conversation in this organization."

#: Reads of one caller that wait; with `streaming.auth.open` an organization is one.
MAX_WAITING = 32
#: Searches and whole conversations take long, on one thread for all organizations.
_turns = Turns(MAX_WAITING)


@endpoint(GET="read", reads=query(PageQuery))
async def index(
    request: HttpRequest, principal: Principal, asked: PageQuery
) -> HttpResponseBase:
    """List the conversations of the caller, newest first, in pages."""
    read = partial(list_conversations, principal, asked)
    if asked.search:
        return json_response(await _read_in_turn(database.SEARCH, principal, read))
    return json_response(await database.execute_read(read))


@endpoint(GET="read", DELETE="admin", reads=query(ConversationQuery))
async def detail(
    request: HttpRequest,
    principal: Principal,
    asked: ConversationQuery,
    conversation_id: str,
) -> HttpResponseBase:
    """Return a conversation with its messages, or delete it and its runs."""
    if request.method != "DELETE":
        read = partial(read_conversation, principal, conversation_id, asked)
        lane = database.CONVERSATIONS
        return json_response(await _read_in_turn(lane, principal, read))
    service = runs.get_service()
    pk, active = await database.execute_read(_deletable, principal, conversation_id)
    await service.cancel_pending(pk)  # else one of them starts when the active run ends
    # Stopped before: an execution that finds its run deleted ends as interrupted.
    for run_id in active:
        service.executor.stop(run_id)
    deleted = Conversation.objects.filter(pk=pk)
    for run_id in await delete_conversations(database.default, deleted):
        service.executor.stop(run_id)
    return HttpResponse(status=204)


async def _read_in_turn(
    lane: str, principal: Principal, read: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Read in a lane that has one thread.

    An organization takes one place in it, for which each of its callers waits with one
    read. Raises `RateLimited` if too many reads of the caller wait, or if those of the
    organization take too long.
    """
    group = (lane, principal.org_id)
    caller = principal.owner or principal.user or principal.credential
    try:
        async with _turns.of(group, caller, database.default.timeout_seconds):
            return await database.execute_read_in(lane, read)
    except TooManyWaiting:
        raise RateLimited(
            "You read too much at a time; wait for your other requests."
        ) from None
    except TimeoutError:
        raise RateLimited(
            "This organization reads too much at a time; try again later."
        ) from None


def list_conversations(principal: Principal, asked: PageQuery) -> dict[str, Any]:
    """Return one page of a caller's conversations."""
    rows = Conversation.objects.filter(_belongs_to(principal))
    if text := asked.search.strip():
        rows = rows.filter(matching(text))
    if asked.cursor:
        updated_at, pk = _read_cursor(asked.cursor)
        rows = rows.filter(
            Q(updated_at__lt=updated_at) | Q(updated_at=updated_at, pk__lt=pk)
        )
    found = list(rows.order_by("-updated_at", "-id")[: asked.limit + 1])
    page = found[: asked.limit]
    return {
        "conversations": _summaries(page),
        "next_cursor": cursors.encode(page[-1].updated_at.isoformat(), page[-1].pk)
        if len(found) > len(page)
        else None,
    }


def read_conversation(
    principal: Principal, conversation_id: str, asked: ConversationQuery
) -> dict[str, Any]:
    """Return a conversation with its messages, or with a part of many."""
    conversation = get_conversation(principal, conversation_id)
    [summary] = _summaries([conversation])
    page = message_page(conversation, asked)
    # The input is among the messages already.
    runs_shown = conversation.runs.defer("input", "context", "structured_output")
    if not page.is_whole:
        runs_shown = runs_shown.filter(pk__in=page.messages.order_by().values("run"))
    read = {
        "org_id": principal.org_id,
        "messages": [payloads.message(row) for row in page.messages],
        "runs": [
            payloads.run_outcome(run) for run in runs_shown.order_by("created_at", "id")
        ],
    }
    return summary | read | ({"next_cursor": page.cursor} if page.cursor else {})


def _summaries(rows: Sequence[Conversation]) -> list[dict[str, Any]]:
    active = Run.objects.filter(IS_ACTIVE, conversation__in=rows)
    run_of = dict(active.values_list("conversation_id", "id"))
    return [payloads.conversation_summary(row, run_of.get(row.pk)) for row in rows]


def _deletable(principal: Principal, conversation_id: str) -> tuple[int, list[str]]:
    """Return the key of a conversation, and its active runs."""
    conversation = get_conversation(principal, conversation_id)
    active = conversation.runs.filter(IS_ACTIVE)
    return conversation.pk, list(active.values_list("id", flat=True))


def _belongs_to(principal: Principal) -> Q:
    return Q(organization__org_id=principal.org_id, owner=principal.owner)


def get_conversation(principal: Principal, conversation_id: str) -> Conversation:
    """Return a conversation to which a caller has access. Raises `NotFound`."""
    if "\0" in conversation_id:  # PostgreSQL refuses it, even in a query
        raise NotFound(NO_CONVERSATION)
    found = Conversation.objects.filter(
        _belongs_to(principal), conversation_id=conversation_id
    ).first()
    if found is None:
        raise NotFound(NO_CONVERSATION)
    return found


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        time, pk = cursors.decode(cursor)
        return datetime.fromisoformat(time).astimezone(UTC), int(pk[:18])
    except (ValueError, OverflowError):
        raise cursors.invalid() from None
