"""The places of runs in the trees of their conversations.

A new run follows the head of its conversation, a message that its request names, or the
question of an earlier run. Only its first message stores a parent, and only if that is
not the message before it in the conversation.
"""

from collections.abc import Iterable
from typing import Protocol

from django.db.models import Exists, Max, OuterRef

from streaming.exceptions import FieldError, InvalidRequest
from streaming.models import Conversation, Message, Run
from streaming.runs.history import WHOLE, BranchSql, branch_sql
from streaming.storage.branches import LAST, read_tree
from streaming.storage.sql import count, update_all

NO_PARENT = "must be a message of this conversation that ends an exchange"
NO_RUN = "must be a run of this conversation that has ended and has a question"


class PlacedRun(Protocol):
    """A run with its place."""

    @property
    def id(self) -> str:
        """The id of the run."""
        ...

    @property
    def conversation_id(self) -> int:
        """The key of its conversation."""
        ...

    @property
    def parent(self) -> int | None:
        """The parent of its first message."""
        ...

    @property
    def question(self) -> int | None:
        """The message that it answers, if that is the question of an earlier run."""
        ...


def place(
    run: Run, parent: int | None, regenerate: str, *, waits: bool = False
) -> None:
    """Set the place of a run that is about to be inserted. Raises `InvalidRequest`.

    `parent` is the message that it shall follow, 0 for none; None: the head. With
    `regenerate`, the id of an earlier run, it follows the question of that run. If the
    new run `waits` for the active run, it may answer the question of that one again.
    """
    if regenerate:
        found = _find_question(run.conversation, regenerate, may_be_active=waits)
        run.input, run.question = found
        run.parent = run.question
        return
    run.parent = continued(run.conversation) if parent is None else parent
    if parent is not None and not ends_exchange(run.conversation, parent):
        raise InvalidRequest([FieldError("parent_message_id", NO_PARENT)])


def continued(conversation: Conversation) -> int | None:
    """Return the message that the next run follows; None: the newest one.

    It is the head, if that ends an exchange. The head may be within one after a
    deletion, or if a process of an earlier version has ended a run.
    """
    head = conversation.head
    if head is None or ends_exchange(conversation, head):
        return head
    return newest_continuation(conversation, head)


def newest_continuation(conversation: Conversation, message: int) -> int | None:
    """Return the newest message that continues a message; None: the newest of all."""
    messages = Message.objects.filter(conversation=conversation.pk)
    first, last = read_tree(conversation.pk).newest_range(message)
    newest, found = (
        rows.aggregate(newest=Max("pk"))["newest"]
        for rows in (messages, messages.filter(pk__gte=first, pk__lte=last))
    )
    return None if found == newest else found


def _find_question(
    conversation: Conversation, run_id: str, *, may_be_active: bool
) -> tuple[str, int]:
    """Return the question of a run that has ended, or may be active; and its message.

    The question of a pending run is not a message yet.
    """
    runs = Run.objects.filter(conversation=conversation.pk, pk=run_id)
    if (run := runs.first()) and (run.has_ended or may_be_active):
        asked = Message.objects.filter(conversation=conversation.pk, role="user")
        own = asked.filter(pk=run.question) if run.question else asked.filter(run=run)
        if question := own.order_by("pk").values_list("pk", flat=True).first():
            return run.input, question
    raise InvalidRequest([FieldError("regenerate", NO_RUN)])


def ends_exchange(conversation: Conversation, key: int) -> bool:
    """Return whether a message is the last one of an exchange that has ended.

    0 is the beginning of a conversation that has messages.
    """
    messages = Message.objects.filter(conversation=conversation.pk)
    if not key:
        return messages.exists()
    message = messages.filter(pk=key).select_related("run").first()
    if message is None:
        return False
    later = messages.filter(pk__gt=key)
    if run := message.run:
        return run.has_ended and not later.filter(run=run).exists()
    following = later.order_by("pk").first()  # of a copy, unless another begins
    # A text that steered a run does not begin an exchange.
    return not (
        following
        and (
            following.role != "user"
            or any(part.get("steers") for part in following.parts)
        )
        and following.run_id is None
        and following.parent is None
    )


def first_parents(runs: Iterable[PlacedRun]) -> dict[str, int]:
    """Return the parents that the first messages of runs store, by the runs' ids.

    They are about to be inserted, and become the newest of their conversations.
    """
    found: dict[str, int] = {}
    for run in {run.id: run for run in runs if run.parent is not None}.values():
        if count(Message, run=run.id):
            continue
        messages = Message.objects.filter(conversation=run.conversation_id)
        newest = messages.aggregate(newest=Max("pk"))["newest"] or 0
        # A repeated answer always stores its question, of which it may be the only one:
        # that tells which run the question belongs to in this branch.
        if run.parent is not None and (run.question or run.parent != newest):
            found[run.id] = run.parent
            conversations = Conversation.objects.filter(pk=run.conversation_id)
            conversations.update(is_branched=True, head=None)
    return found


def show_questions(runs: Iterable[Run]) -> None:
    """Move the heads of conversations to the questions that runs are to answer again.

    They stay there until the first message of the answer is inserted.
    """
    repeated = [run for run in runs if run.question]
    previous = [
        ({"id": run.id}, {"previous_head": run.conversation.head}) for run in repeated
    ]
    update_all(Run, previous)
    heads = [({"id": r.conversation_id}, {"head": r.question}) for r in repeated]
    update_all(Conversation, heads)


def restore_heads(runs: Iterable[PlacedRun]) -> None:
    """Move heads back from the questions of ended runs that have stored no message.

    The transaction must have locked the conversations.
    """
    repeated = {run.id: run for run in runs if run.question}
    if not repeated:
        return
    own = Message.objects.filter(run=OuterRef("pk"))
    silent = Run.objects.filter(~Exists(own), pk__in=repeated)
    for run_id, head in silent.values_list("pk", "previous_head"):
        run = repeated[run_id]
        rows = Conversation.objects.filter(pk=run.conversation_id, head=run.question)
        messages = Message.objects.filter(conversation=run.conversation_id)
        rows.update(head=messages.filter(pk=head or 0).values("pk"))


def history_sql(run: Run, *, has_messages: bool) -> BranchSql:
    """Return the conditions for the history of an active run.

    `has_messages`: it has messages of its own, beside the question.
    """
    if run.parent is None and not run.conversation.is_branched:
        return WHOLE
    tree = read_tree(run.conversation_id)
    if run.question and not has_messages:
        return branch_sql(tree.branch(run.question), run.question)
    return branch_sql(tree.branch(LAST))
