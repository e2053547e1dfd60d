"""The erasure of a user's runs in conversations that also belong to others.

The runs of the others stay. Title, search text and summaries are derived from the
messages, so they are made anew or removed.
"""

import asyncio
import time

from django.db.models import Q, QuerySet

from streaming.messages import Message as UserMessage
from streaming.messages import SummaryPart, parts_from_json
from streaming.models import (
    HAS_NOT_ENDED,
    Conversation,
    ConversationText,
    Message,
    Run,
)
from streaming.personal_data.selection import Selection, in_pages
from streaming.runs.deletion import BATCH, delete_runs, write_repeatedly
from streaming.runs.start import title_of
from streaming.storage.branches import leave_out
from streaming.storage.database import Database
from streaming.storage.pauses import pause_after
from streaming.storage.search import text_of

#: Messages that are looked through together.
MESSAGES = 20


async def erase_shared(database: Database, chosen: Selection) -> None:
    """Erase the user's runs, one conversation after the other."""
    while True:
        started = time.monotonic()
        if not await write_repeatedly(database, _erase_some, chosen):
            return
        await asyncio.sleep(pause_after(started))  # others write in it


def _erase_some(chosen: Selection) -> bool:
    """Erase some rows of one conversation; return false if there is none."""
    rows = chosen.shared_runs.order_by("pk").select_related("conversation")
    copied = chosen.copied_messages.order_by("pk").select_related("conversation")
    first = rows.first() or copied.first()
    if first is None:
        return False
    conversation = first.conversation
    runs = chosen.shared_runs.filter(conversation=conversation)
    copies = copied.filter(conversation=conversation)
    _disconnect(conversation, runs, copies)
    count = delete_runs(runs, BATCH)
    keys = list(copies.values_list("pk", flat=True)[: max(BATCH - count, 0)])
    Message.objects.filter(pk__in=keys).delete()
    if count + len(keys) < BATCH:
        _derive_anew(conversation)
    return True


def _disconnect(
    conversation: Conversation, runs: QuerySet[Run], copies: QuerySet[Message]
) -> None:
    """Make the other messages and runs independent of those that are deleted."""
    doomed = Message.objects.filter(Q(run__in=runs) | Q(pk__in=copies))
    leave_out(conversation, doomed)
    # The runs of others that have answered a question of the user again.
    repeated = Run.objects.filter(conversation=conversation, question__in=doomed)
    repeated.update(input="")


def _derive_anew(conversation: Conversation) -> None:
    """Derive the title and the search text from the messages that remain."""
    messages = Message.objects.filter(conversation=conversation)
    _remove_summaries(conversation)
    question = messages.filter(role="user").order_by("pk").first()
    runs = Run.objects.filter(HAS_NOT_ENDED, conversation=conversation)
    waiting = runs.order_by("place", "pk").first()
    if question:
        text = UserMessage("user", parts_from_json(question.parts)).text
    elif waiting:
        text = waiting.input
    elif messages.exists():
        text = ""  # answers to questions that were the user's
    else:
        conversation.delete()
        return
    title = title_of(text)
    Conversation.objects.filter(pk=conversation.pk).update(title=title)
    ConversationText.objects.filter(pk=conversation.pk).update(
        text=text_of(title, text)
    )


def _remove_summaries(conversation: Conversation) -> None:
    """Delete the messages that are summaries; requests omit old exchanges instead."""
    messages = Message.objects.filter(conversation=conversation)
    keys = [
        message.pk
        for message in in_pages(messages, MESSAGES)
        for part in parts_from_json(message.parts)
        if isinstance(part, SummaryPart)
    ]
    summaries = messages.filter(pk__in=keys)
    leave_out(conversation, summaries)
    summaries.delete()
