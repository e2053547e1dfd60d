"""The creation and revocation of API keys, each with a record in the audit log."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from streaming import audit
from streaming.auth.keys.material import NewKey
from streaming.models import ApiKey, Organization
from streaming.storage.alias import app_alias


def create_key(
    organization: Organization,
    *,
    name: str,
    actor: str,
    scopes: Iterable[str],
    user: str = "",
    expires_at: datetime | None = None,
) -> NewKey:
    """Create a key and return it: its text exists only in the result.

    Raises `ValidationError`.
    """
    new = NewKey.make()
    row = ApiKey(
        organization=organization,
        user=user,
        name=name,
        scopes=list(dict.fromkeys(scopes)),
        expires_at=expires_at,
    )
    save_key(row, new, actor)
    return new


def save_key(row: ApiKey, new: NewKey, actor: str) -> None:
    """Store a row as that of a new key. Raises `ValidationError`."""
    row.prefix, row.secret_hash = new.prefix, new.secret_hash
    row.full_clean()
    with transaction.atomic(app_alias()):
        row.save(force_insert=True)
        audit.record(
            "key.created",
            actor=actor,
            target=f"key:{row.prefix}",
            org_id=row.organization.org_id,
            details={
                "scopes": row.scopes,
                "expires_at": row.expires_at and row.expires_at.isoformat(),
            },
        )


def revoke_keys(prefixes: Iterable[str], actor: str) -> list[str]:
    """Revoke keys; return the prefixes of those that were not revoked before."""
    valid = ApiKey.objects.filter(prefix__in=list(prefixes), revoked_at=None)
    with transaction.atomic(app_alias()):
        keys = list(valid.select_for_update().order_by("pk"))
        ApiKey.objects.filter(pk__in=[key.pk for key in keys]).update(revoked_at=Now())
        for key in keys:
            audit.record(
                "key.revoked",
                actor=actor,
                target=f"key:{key.prefix}",
                org_id=key.organization.org_id,
            )
    return [key.prefix for key in keys]
