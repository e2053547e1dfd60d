"""Rows of two users and two organizations, for exports and erasures."""

from django.contrib.auth.models import User

from streaming import audit
from streaming.models import Conversation, Run
from tests.admin.history import content, converse, log, make_conversation, make_run
from tests.auth.keys.rows import make_key


def make_data(org_id: str, user: str = "", owner: str = "", **fields: object) -> Run:
    """Make a run of a user in a conversation of an owner, with all their rows."""
    conversation = make_conversation(org_id, f"Title of {user}", f"question of {user}")
    Conversation.objects.filter(pk=conversation.pk).update(owner=owner)
    return add_run(conversation, user, owner, **fields)


def add_run(
    conversation: Conversation, user: str, owner: str = "", **fields: object
) -> Run:
    """Add a run of a user to a conversation, with its messages and events."""
    usual = {"input": f"secret of {user}", "user": user, "owner": owner}
    run = make_run(conversation, **usual | fields)
    converse(run)
    log(run, [content(n, f"delta {n} ") for n in range(20)])
    return run


def make_users() -> tuple[str, str]:
    """Make Alice and Bob, each with data of their own and a key in `acme`."""
    names = ("alice", "bob")
    alice, bob = (str(User.objects.create(username=name).pk) for name in names)
    for user in (alice, bob):
        make_data("acme", user, owner=user, idempotency_key="once")
        make_key(user=user, name=f"key of {user}")
        audit.record("key.created", actor=f"user:{user}", org_id="acme")
    return alice, bob
