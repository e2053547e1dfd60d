"""Fill our database: `python -m bench.seed CONVERSATIONS LONG MESSAGES`.

So many finished conversations, and some long ones to go on in: `long-0`, `long-1` …
"""

import os
import sys
from collections.abc import Iterator

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
django.setup()

from streaming.models import (  # noqa: E402  (Django's models need its set-up)
    Conversation,
    Message,
    Organization,
    Run,
    RunStatus,
)

BATCH = 1000
QUESTION = "Tell me something about number {}, please."
ANSWER = "{0} is a number that has many properties, of which some are well known. " * 3


def main() -> None:
    """The command."""
    conversations, long, messages = map(int, sys.argv[1:])
    organization, _ = Organization.objects.get_or_create(org_id="bench")
    for start in range(0, conversations, BATCH):
        count = min(BATCH, conversations - start)
        _fill(organization, [f"seed-{start + n}" for n in range(count)], 2)
    _fill(organization, [f"long-{n}" for n in range(long)], messages)


def _fill(organization: Organization, ids: list[str], messages: int) -> None:
    """Conversations of so many messages, and a run each."""
    made = Conversation.objects.bulk_create(
        Conversation(organization=organization, conversation_id=name, title=name)
        for name in ids
    )
    Run.objects.bulk_create(
        Run(
            organization=organization,
            conversation=conversation,
            status=RunStatus.COMPLETED,
            input=QUESTION,
            provider="seed",
            ended_at=conversation.created_at,
        )
        for conversation in made
    )
    texts = [m for conversation in made for m in _messages(conversation, messages)]
    Message.objects.bulk_create(texts, batch_size=BATCH)


def _messages(conversation: Conversation, count: int) -> Iterator[Message]:
    for number in range(count):
        role, text = (
            ("assistant", ANSWER.format(number))
            if number % 2
            else ("user", QUESTION.format(number))
        )
        parts = [{"type": "text", "text": text}]
        yield Message(conversation=conversation, role=role, parts=parts)


if __name__ == "__main__":
    main()
