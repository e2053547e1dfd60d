"""The audit log of actions on access and on data: `record` adds to it.

A caller passes names of things, and never a secret or a text of a user.
"""

from collections.abc import Mapping

from streaming.access_models import AuditRecord

#: The actor of a management command.
COMMAND = "command"
#: The actor or target whose user was erased.
ERASED = "user:erased"


def record(
    action: str,
    *,
    actor: str,
    target: str = "",
    org_id: str = "",
    details: Mapping[str, object] | None = None,
) -> None:
    """Add a record, in the transaction of the caller if it has one.

    `action` is a kind of object and a verb, as in `key.revoked`. `actor` and `target`
    are a kind and a key, as `user_name` returns them. Longer names are cut.
    """
    AuditRecord.objects.create(
        actor=actor[:80],
        action=action[:40],
        target=target[:160],
        org_id=org_id[:128],
        details=dict(details or {}),
    )


def user_name(key: object) -> str:
    """Return the name of a user as an actor or target, from its primary key."""
    return f"user:{key}"
