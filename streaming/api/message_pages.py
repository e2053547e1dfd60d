"""The messages of a branch in pages, which end at a number of characters."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from streaming import conf
from streaming.api import cursors, payloads
from streaming.api.schemas import ConversationQuery
from streaming.models import Conversation, Message
from streaming.storage.branches import LAST, Tree, read_tree, siblings_below
from streaming.storage.walk import keys_within

_DIRECTIONS = ("start", "end")


class MessagePage(msgspec.Struct, frozen=True):
    """Some messages of a branch, the oldest first."""

    messages: Sequence[Message]
    #: The message before the first one; None: there is none.
    before: int | None
    #: The cursor of the next page; empty: there is none.
    cursor: str
    #: Whether the page has all messages of the conversation.
    is_whole: bool
    tree: Tree

    def payloads(self, conversation: Conversation) -> Iterator[dict[str, Any]]:
        """Yield the messages as clients read them, each with its place."""
        parents = [self.before, *(message.pk for message in self.messages)][:-1]
        siblings = siblings_below(conversation.pk, self.tree, parents)
        for message, parent in zip(self.messages, parents, strict=True):
            place: dict[str, Any] = {"id": message.pk, "parent_id": parent}
            if parent in siblings:
                place["siblings"] = siblings[parent]
            yield payloads.message(message) | place


def message_page(conversation: Conversation, asked: ConversationQuery) -> MessagePage:
    """Return the requested page of the branch that ends at the head.

    A few queries read no message beyond it. From the end of the branch, the next page
    is an older one. Raises `InvalidRequest` for an unknown cursor.
    """
    direction, start = _place(asked)
    options = conf.get()
    tree = read_tree(conversation.pk) if conversation.is_branched else Tree()
    rows = Message.objects.filter(conversation=conversation).order_by("id")
    condition = ""
    if tree.parents or conversation.head:
        branch = tree.branch(conversation.head or LAST)
        condition, rows = branch.condition, branch.of(rows)
    keys = keys_within(
        conversation.pk,
        start,
        forward=direction == "start",
        limit=min(asked.limit, options.conversation_page_messages),
        chars=options.conversation_page_chars,
        branch=condition,
    )
    if not keys:
        return MessagePage([], None, "", is_whole=not asked.cursor, tree=tree)
    forward = direction == "start"
    rest = rows.filter(pk__gt=keys[-1]) if forward else rows.filter(pk__lt=keys[-1])
    following = rest.order_by("pk" if forward else "-pk").values_list("pk", flat=True)
    further = following.first()
    # The cursor may be that of a deleted message, or of another branch.
    previous = rows.filter(pk__lt=keys[0]).order_by("-pk").values_list("pk", flat=True)
    before = (previous.first() if start else None) if forward else further
    is_whole = further is None and not asked.cursor
    return MessagePage(
        list(rows.filter(pk__gte=min(keys), pk__lte=max(keys))),
        before,
        cursors.encode(direction, keys[-1]) if further is not None else "",
        is_whole=is_whole and not condition,
        tree=tree,
    )


def _place(asked: ConversationQuery) -> tuple[str, int]:
    """Return the direction of reading, and the message after which it starts."""
    if not asked.cursor:
        return asked.start, 0 if asked.start == "start" else LAST
    try:
        direction, key = cursors.decode(asked.cursor)
        start = int(key[:18])
    except ValueError:
        raise cursors.invalid() from None
    if direction not in _DIRECTIONS:
        raise cursors.invalid()
    return direction, start
