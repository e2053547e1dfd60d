"""The tree of a conversation's messages, and its branches.

Nearly all messages follow the one before them in the conversation. The others are the
branch points: only they store a parent. A branch is therefore a few ranges of ids, from
its last message back to the nearest branch point, then from that one's parent on.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec
from django.db.models import BooleanField, OuterRef, QuerySet, Subquery
from django.db.models.expressions import RawSQL

from streaming.models import Conversation, Message
from streaming.storage.alias import app_connection

#: The id of a message that is newer than all others.
LAST = 2**63 - 1

#: The first and the last id of messages that follow each other.
Range = tuple[int, int]

_TABLE = Message._meta.db_table
# A parent that was deleted, or is in another conversation, counts as none. Parents are
# older than their children: a walk over them ends.
_POINTS = f"""
    SELECT point.id, COALESCE(parent.id, 0)
    FROM {_TABLE} point
    LEFT JOIN {_TABLE} parent
    ON parent.id = point.parent AND parent.id < point.id
    AND parent.conversation_id = point.conversation_id
    WHERE point.conversation_id = %s AND point.parent IS NOT NULL
    ORDER BY point.id
"""


class Branch(msgspec.Struct, frozen=True):
    """The messages from the beginning of a conversation to one of them."""

    #: The oldest first.
    ranges: Sequence[Range]

    @property
    def condition(self) -> str:
        """The condition for messages of the conversation, as SQL.

        Its bounds are those of a walk through the index. Between them it halves the
        ranges, so that its depth stays small however many they are.
        """
        if not self.ranges:
            return "FALSE"
        bounds = _condition([(self.ranges[0][0], self.ranges[-1][1])])
        more = len(self.ranges) > 1
        return f"({bounds} AND {_condition(self.ranges)})" if more else bounds

    def of(self, messages: QuerySet[Message]) -> QuerySet[Message]:
        """Return those of a conversation's messages that the branch has."""
        return messages.filter(RawSQL(self.condition, (), BooleanField()))

    @property
    def points(self) -> list[int]:
        """The branch points among its messages."""
        return [first for first, _ in self.ranges if first]


class Tree(msgspec.Struct, frozen=True):
    """The branch points of a conversation."""

    #: The parent of each branch point, in the order of the ids; 0: none.
    parents: dict[int, int] = {}

    def branch(self, last: int = LAST) -> Branch:
        """Return the branch that ends at a message; by default at the newest one."""
        points, ranges = list(self.parents), list[Range]()
        while last:
            at = bisect_right(points, last)
            first = points[at - 1] if at else 0
            ranges.insert(0, (first, last))
            last = self.parents.get(first, 0)
        return Branch(ranges)

    def newest_range(self, message: int) -> Range:
        """Return the range in which the newest continuation of a message ends."""
        points = [0, *self.parents]
        at = bisect_right(points, message) - 1
        #: The first message of each range that belongs to a continuation.
        reached = {points[at]: message}
        for point, parent in self.parents.items():
            if point > message and parent:
                before = points[bisect_right(points, parent) - 1]
                if before in reached and reached[before] <= parent:
                    reached[point] = point
        newest = max(reached)
        after = bisect_right(points, newest)
        last = points[after] - 1 if after < len(points) else LAST
        return reached[newest], last


def siblings_below(
    conversation: int, tree: Tree, parents: Iterable[int | None]
) -> dict[int | None, list[int]]:
    """Return the children of those parents that have several, in order.

    None is the parent of the messages without one.
    """
    points: dict[int, list[int]] = {}
    for point, parent in tree.parents.items():
        points.setdefault(parent, []).append(point)
    chosen = {parent or 0 for parent in parents} & points.keys()
    messages = Message.objects.filter(conversation=conversation).order_by("pk")
    after = messages.filter(pk__gt=OuterRef("pk")).values("pk")[:1]
    following = messages.filter(pk__in=chosen).annotate(following=Subquery(after))
    next_of = dict(following.values_list("pk", "following"))
    if 0 in chosen:
        next_of[0] = messages.values_list("pk", flat=True).first()
    found: dict[int | None, list[int]] = {}
    for parent in chosen:
        first = next_of.get(parent)
        own = [] if first is None or first in tree.parents else [first]
        if len(children := own + points[parent]) > 1:
            found[parent or None] = children
    return found


def read_tree(conversation: int) -> Tree:
    """Return the branch points of a conversation."""
    with app_connection().cursor() as cursor:
        cursor.execute(_POINTS, [conversation])
        return Tree(dict(cursor.fetchall()))


def leave_out(conversation: Conversation, messages: QuerySet[Message]) -> None:
    """Connect the messages after some that are about to be deleted to those before."""
    if not conversation.is_branched and conversation.head is None:
        return
    removed = set(messages.values_list("pk", flat=True))
    rows = Message.objects.filter(conversation=conversation).order_by("pk")
    #: The newest message that remains, at or before each one.
    remaining = {0: 0}
    before = 0
    for key, stored in rows.values_list("pk", "parent"):
        parent = before if stored is None else stored if stored in remaining else 0
        remaining[key] = remaining[parent] if key in removed else key
        if conversation.is_branched and parent in removed and key not in removed:
            Message.objects.filter(pk=key).update(parent=remaining[parent])
        before = key
    if conversation.head in removed:
        head = remaining.get(conversation.head) or None
        Conversation.objects.filter(pk=conversation.pk).update(head=head)


def _condition(ranges: Sequence[Range]) -> str:
    if len(ranges) == 1:
        first, last = ranges[0]
        return f"{_TABLE}.id BETWEEN {first} AND {last}"
    middle = len(ranges) // 2
    older, newer = _condition(ranges[:middle]), _condition(ranges[middle:])
    split = ranges[middle][0]
    return f"CASE WHEN {_TABLE}.id < {split} THEN {older} ELSE {newer} END"
