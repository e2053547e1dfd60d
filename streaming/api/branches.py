"""Operations on a conversation: another branch, a copy, another title.

The conversation is named by the query, because its id may contain slashes.
"""

from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from streaming.api.conversations import shown_conversation, summaries
from streaming.api.endpoint import endpoint
from streaming.api.responses import json_response
from streaming.api.schemas import (
    ConversationQuery,
    Identifier,
    MessageId,
    OrgQuery,
    json_body,
    printable,
    query,
)
from streaming.principals import Principal
from streaming.runs import conversations
from streaming.storage import database

MAX_TITLE = 120

B = TypeVar("B", bound=BaseModel)


class ConversationName(OrgQuery):
    """The query that names a conversation."""

    conversation_id: Identifier


class HeadBody(BaseModel):
    """The body of `head`."""

    model_config = ConfigDict(strict=True)

    message_id: MessageId


class ForkBody(BaseModel):
    """The body of `fork`."""

    model_config = ConfigDict(strict=True)

    message_id: MessageId | None = None
    conversation_id: Identifier | None = None


class TitleBody(BaseModel):
    """The body that renames a conversation."""

    model_config = ConfigDict(strict=True)

    title: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE),
        AfterValidator(printable),
    ]


class Operation(ConversationName, Generic[B]):
    """A conversation, and a body that says how to change it."""

    body: B


def operation(model: type[B]) -> Callable[[HttpRequest], Operation[B]]:
    """Return a function that parses a query and a body, or raises `InvalidRequest`."""
    read_name, read_body = query(ConversationName), json_body(model)

    def parse(request: HttpRequest) -> Operation[B]:
        name = read_name(request).model_dump(exclude_unset=True)
        return Operation(**name, body=read_body(request))

    return parse


@endpoint(POST="run", reads=operation(HeadBody))
async def head(
    request: HttpRequest, principal: Principal, asked: Operation[HeadBody]
) -> HttpResponseBase:
    """Show the branch through a message, and return it."""
    name, message = asked.conversation_id, asked.body.message_id
    await database.execute_write(conversations.show_branch, principal, name, message)
    if not principal.allows("read"):
        return HttpResponse(status=204)
    return await shown_conversation(principal, name, ConversationQuery())


@endpoint(POST="run", reads=operation(ForkBody))
async def fork(
    request: HttpRequest, principal: Principal, asked: Operation[ForkBody]
) -> HttpResponseBase:
    """Copy a branch into a new conversation, and return that."""
    copy = await database.execute_write(
        conversations.fork,
        principal,
        asked.conversation_id,
        asked.body.message_id,
        asked.body.conversation_id or "",
    )
    return json_response((await database.execute_read(summaries, [copy]))[0], 201)


@endpoint(PATCH="run", reads=operation(TitleBody))
async def rename(
    request: HttpRequest, principal: Principal, asked: Operation[TitleBody]
) -> HttpResponseBase:
    """Give the conversation another title, and return the conversation."""
    named = await database.execute_write(
        conversations.rename, principal, asked.conversation_id, asked.body.title
    )
    return json_response((await database.execute_read(summaries, [named]))[0])
