"""The messages of a conversation in pages, which end at a number of characters."""

import msgspec
from django.db.models import QuerySet

from streaming import conf
from streaming.api import cursors
from streaming.api.schemas import ConversationQuery
from streaming.models import Conversation, Message
from streaming.storage.walk import keys_within

_LAST = 2**63 - 1
_DIRECTIONS = ("start", "end")


class MessagePage(msgspec.Struct, frozen=True):
    """Some messages of a conversation, the oldest first."""

    messages: QuerySet[Message]
    #: The cursor of the next page; empty: there is none.
    cursor: str
    #: Whether the page has all messages of the conversation.
    is_whole: bool


def message_page(conversation: Conversation, asked: ConversationQuery) -> MessagePage:
    """Return the requested page; two queries read no message beyond it.

    From the end of the conversation, the next page is an older one. Raises
    `InvalidRequest` for an unknown cursor.
    """
    direction, start = _place(asked)
    options = conf.get()
    keys = keys_within(
        conversation.pk,
        start,
        forward=direction == "start",
        limit=min(asked.limit, options.conversation_page_messages),
        chars=options.conversation_page_chars,
    )
    rows = Message.objects.filter(conversation=conversation).order_by("id")
    if not keys:
        return MessagePage(rows.none(), "", is_whole=not asked.cursor)
    beyond = "pk__gt" if direction == "start" else "pk__lt"
    more = rows.filter(**{beyond: keys[-1]}).exists()
    return MessagePage(
        rows.filter(pk__gte=min(keys), pk__lte=max(keys)),
        cursors.encode(direction, keys[-1]) if more else "",
        is_whole=not more and not asked.cursor,
    )


def _place(asked: ConversationQuery) -> tuple[str, int]:
    """Return the direction of reading, and the message after which it starts."""
    if not asked.cursor:
        return asked.start, 0 if asked.start == "start" else _LAST
    try:
        direction, key = cursors.decode(asked.cursor)
        start = int(key[:18])
    except ValueError:
        raise cursors.invalid() from None
    if direction not in _DIRECTIONS:
        raise cursors.invalid()
    return direction, start
