"""Conversations of an organization: list, read, delete."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import runs
from streaming.aio.turns import TooManyWaiting, Turns
from streaming.api import cursors, payloads
from streaming.api.endpoint import endpoint
from streaming.api.message_pages import message_page
from streaming.api.responses import json_response
from streaming.api.schemas import ConversationQuery, PageQuery, query
from streaming.exceptions import RateLimited
from streaming.models import IS_ACTIVE, Conversation, Message, Run
from streaming.principals import Principal
from streaming.runs.conversations import belongs_to, get_conversation
from streaming.runs.deletion import delete_conversations
from streaming.storage import database
from streaming.storage.search import matching

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
        return await shown_conversation(principal, conversation_id, asked)
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


async def shown_conversation(
    principal: Principal, conversation_id: str, asked: ConversationQuery
) -> HttpResponse:
    """Return the response with a conversation and its messages."""
    read = partial(read_conversation, principal, conversation_id, asked)
    lane = database.CONVERSATIONS
    return json_response(await _read_in_turn(lane, principal, read))


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
    rows = Conversation.objects.filter(belongs_to(principal))
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
        "conversations": summaries(page),
        "next_cursor": cursors.encode(page[-1].updated_at.isoformat(), page[-1].pk)
        if len(found) > len(page)
        else None,
    }


def read_conversation(
    principal: Principal, conversation_id: str, asked: ConversationQuery
) -> dict[str, Any]:
    """Return a conversation with its messages, or with a part of many."""
    conversation = get_conversation(principal, conversation_id)
    [summary] = summaries([conversation])
    page = message_page(conversation, asked)
    # The input is among the messages already.
    runs_shown = conversation.runs.defer("input", "context", "structured_output")
    if not page.is_whole:
        runs_shown = runs_shown.filter(_belongs_to_messages(page.messages))
    read = {
        "org_id": principal.org_id,
        "messages": list(page.payloads(conversation)),
        "runs": [
            payloads.run_outcome(run) for run in runs_shown.order_by("created_at", "id")
        ],
    }
    return summary | read | ({"next_cursor": page.cursor} if page.cursor else {})


def _belongs_to_messages(messages: Sequence[Message]) -> Q:
    """Return the condition for the runs that have stored messages.

    A run that has stored none yet belongs to the question that it answers again.
    """
    runs = {message.run_id for message in messages}
    questions = [message.pk for message in messages if message.role == "user"]
    stored = Exists(Message.objects.filter(run=OuterRef("pk")))
    return Q(pk__in=runs) | Q(~stored, question__in=questions)


def summaries(rows: Sequence[Conversation]) -> list[dict[str, Any]]:
    """Return conversations as in a list."""
    active = Run.objects.filter(IS_ACTIVE, conversation__in=rows)
    run_of = dict(active.values_list("conversation_id", "id"))
    return [payloads.conversation_summary(row, run_of.get(row.pk)) for row in rows]


def _deletable(principal: Principal, conversation_id: str) -> tuple[int, list[str]]:
    """Return the key of a conversation, and its active runs."""
    conversation = get_conversation(principal, conversation_id)
    active = conversation.runs.filter(IS_ACTIVE)
    return conversation.pk, list(active.values_list("id", flat=True))


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        time, pk = cursors.decode(cursor)
        return datetime.fromisoformat(time).astimezone(UTC), int(pk[:18])
    except (ValueError, OverflowError):
        raise cursors.invalid() from None
