"""Conversations of a caller, and their changes: another head, a copy, another title.

Each public function is called in one transaction.
"""

from django.db.models import Q
from msgspec import structs

from streaming.budgets import accounts
from streaming.budgets.limits import Amounts, limits_of
from streaming.exceptions import (
    ConversationBusy,
    FieldError,
    InvalidRequest,
    NotFound,
)
from streaming.messages import Message as ConversationMessage
from streaming.messages import parts_from_json
from streaming.models import (
    IS_ACTIVE,
    Conversation,
    ConversationText,
    Message,
    Run,
    new_conversation_id,
)
from streaming.principals import Principal
from streaming.runs.branches import ends_exchange, newest_continuation
from streaming.runs.history import branch_sql
from streaming.runs.start import title_of
from streaming.storage.alias import app_connection
from streaming.storage.branches import LAST, read_tree
from streaming.storage.search import text_of
from streaming.storage.sql import database_time
from streaming.storage.walk import walk_sql, within

NO_CONVERSATION = "There is no such conversation in this organization."
NO_MESSAGE = "There is no such message in this conversation."
IN_USE = "must be an id that no conversation has"
NO_END = "must be a message that ends an exchange"
#: The messages of a copy, and the characters of their parts as they are stored: one
#: transaction writes them, and keeps other writes waiting.
MAX_COPY_MESSAGES, MAX_COPY_CHARS = 2000, 8_000_000
#: Messages of one step of the walk that measures them.
BLOCK = 100
TOO_LONG = (
    f"ends a branch of more than {MAX_COPY_MESSAGES} messages or "
    f"{MAX_COPY_CHARS} characters, which is too long for a copy"
)

_COPY = """
    INSERT INTO {message} (
        conversation_id, role, parts, created_at, copied_from
    )
    SELECT
        %(copy)s, role, parts, created_at, COALESCE(
            (SELECT "user" FROM {run} WHERE {run}.id = {message}.run_id), copied_from
        )
    FROM {message}
    WHERE conversation_id = %(conversation)s {branch} AND {accepted}
    ORDER BY id
"""


def belongs_to(principal: Principal) -> Q:
    """Return the condition for the conversations of a caller."""
    return Q(organization__org_id=principal.org_id, owner=principal.owner)


def get_conversation(
    principal: Principal, conversation_id: str, *, lock: bool = False
) -> Conversation:
    """Return a conversation of a caller. Raises `NotFound`.

    With `lock`, no run can start or end in it before the end of the transaction.
    """
    if "\0" in conversation_id:  # PostgreSQL refuses it, even in a query
        raise NotFound(NO_CONVERSATION)
    rows = Conversation.objects.filter(
        belongs_to(principal), conversation_id=conversation_id
    )
    if lock:
        rows = rows.select_for_update(no_key=True, of=("self",))
    found = rows.first()
    if found is None:
        raise NotFound(NO_CONVERSATION)
    return found


def show_branch(principal: Principal, conversation_id: str, message: int) -> None:
    """Move the head to the newest message that continues a message.

    Raises `NotFound` or `ConversationBusy`.
    """
    conversation = get_conversation(principal, conversation_id, lock=True)
    _refuse_active(conversation)
    messages = Message.objects.filter(conversation=conversation)
    if not messages.filter(pk=message).exists():
        raise NotFound(NO_MESSAGE)
    conversation.head = newest_continuation(conversation, message)
    conversation.save(update_fields=["head"])


def fork(
    principal: Principal, conversation_id: str, message: int | None, copy_id: str = ""
) -> Conversation:
    """Copy the branch that ends at a message, by default at the head.

    It counts as a run for the limits of runs in a minute. Raises `NotFound`,
    `InvalidRequest`, `ConversationBusy` or `RateLimited`.
    """
    conversation = get_conversation(principal, conversation_id, lock=True)
    if message is None:
        _refuse_active(conversation)
    elif not Message.objects.filter(conversation=conversation, pk=message).exists():
        raise NotFound(NO_MESSAGE)
    elif not ends_exchange(conversation, message):
        raise InvalidRequest([FieldError("message_id", NO_END)])
    now = database_time()
    copy, is_new = Conversation.objects.get_or_create(
        organization_id=conversation.organization_id,
        owner=conversation.owner,
        conversation_id=copy_id or new_conversation_id(),
        defaults={"created_at": now, "updated_at": now},
    )
    if not is_new:
        raise InvalidRequest([FieldError("conversation_id", IN_USE)])
    _admit(principal)
    _copy_messages(conversation, message or conversation.head or LAST, copy)
    # The title of the other branch may be the text of another user.
    copy.title = title_of(_first_question(copy))
    copy.save(update_fields=["title"])
    ConversationText.objects.create(conversation=copy, text=_search_text(copy))
    return copy


def rename(principal: Principal, conversation_id: str, title: str) -> Conversation:
    """Give a conversation another title, by which it is found from then on."""
    conversation = get_conversation(principal, conversation_id, lock=True)
    conversation.title = title
    conversation.save(update_fields=["title"])
    texts = ConversationText.objects.filter(conversation=conversation)
    texts.update(text=_search_text(conversation))
    return conversation


def _refuse_active(conversation: Conversation) -> None:
    active = Run.objects.filter(IS_ACTIVE, conversation=conversation)
    if run_id := active.values_list("pk", flat=True).first():
        raise ConversationBusy(run_id)


def _admit(principal: Principal) -> None:
    """Count a copy against the caller's limits of runs in a minute.

    Raises `RateLimited`.
    """
    limits = [
        structs.replace(each, amounts=Amounts(runs_per_minute=most))
        for each in limits_of(principal)
        if (most := each.amounts.runs_per_minute) is not None
    ]
    if limits:
        accounts.admit([limits], [False])


def _copy_messages(conversation: Conversation, last: int, copy: Conversation) -> None:
    """Copy the accepted exchanges of a branch, as the history of a model has them.

    Raises `InvalidRequest` if they are too long.
    """
    sql = branch_sql(read_tree(conversation.pk).branch(last))
    if not _is_short(conversation, last, sql.branch):
        raise InvalidRequest([FieldError("message_id", TOO_LONG)])
    statement = _COPY.format(
        message=Message._meta.db_table,
        run=Run._meta.db_table,
        branch=within(sql.branch),
        accepted=sql.accepted,
    )
    values = {"conversation": conversation.pk, "copy": copy.pk}
    with app_connection().cursor() as cursor:
        cursor.execute(statement, values)


def _is_short(conversation: Conversation, last: int, branch: str) -> bool:
    """Return whether a branch can be copied, from a walk that ends early if not."""
    walk = walk_sql(BLOCK, branch=branch)
    values = {
        "conversation": conversation.pk,
        "start": min(last + 1, LAST),
        "chars": MAX_COPY_CHARS,
        # The first row is the start, and the last one tells that no messages remain.
        "rows": MAX_COPY_MESSAGES // BLOCK + 2,
    }
    with app_connection().cursor() as cursor:
        cursor.execute(f"{walk} SELECT id, chars FROM walk LIMIT %(rows)s", values)
        end, chars = cursor.fetchall()[-1]
    return end is None and chars <= MAX_COPY_CHARS


def _search_text(conversation: Conversation) -> str:
    """Return the text of the title and the first question."""
    return text_of(conversation.title, _first_question(conversation))


def _first_question(conversation: Conversation) -> str:
    questions = Message.objects.filter(conversation=conversation, role="user")
    first = questions.order_by("pk").first()
    parts = parts_from_json(first.parts) if first else []
    return ConversationMessage("user", parts).text
