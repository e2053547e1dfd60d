"""The queue of a conversation: its pending runs, listed, reordered, cancelled."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import runs
from streaming.api import payloads
from streaming.api.endpoint import endpoint
from streaming.api.responses import json_response
from streaming.api.schemas import OrderBody, QueueQuery, json_body, query
from streaming.models import Conversation
from streaming.principals import Principal
from streaming.runs import pending
from streaming.runs.conversations import get_conversation
from streaming.storage import database


@endpoint(GET="read", PATCH="run", DELETE="cancel", reads=query(QueueQuery))
async def detail(
    request: HttpRequest, principal: Principal, asked: QueueQuery
) -> HttpResponseBase:
    """Return the pending runs of a conversation, put them in order, or cancel them."""
    conversation = await database.execute_read(
        get_conversation, principal, asked.conversation_id
    )
    if request.method == "DELETE":
        await runs.get_service().cancel_pending(conversation.pk)
        return HttpResponse(status=204)
    if request.method == "PATCH":
        order = json_body(OrderBody)(request).order
        await database.execute_write(pending.reorder, conversation.pk, order)
        if not principal.allows("read"):
            return HttpResponse(status=204)
    return json_response(await database.execute_read(read_queue, conversation))


def read_queue(conversation: Conversation) -> dict[str, Any]:
    """Return the pending runs of a conversation, in their order."""
    found = pending.of_conversation(conversation.pk)
    listed = [payloads.pending_run(run, at) for at, run in enumerate(found, start=1)]
    return {"conversation_id": conversation.conversation_id, "runs": listed}
