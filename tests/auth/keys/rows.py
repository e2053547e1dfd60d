"""Rows of keys for tests."""

from typing import Any

from streaming.auth.keys.material import NewKey
from streaming.models import ApiKey, Organization
from streaming.testing import secrets

#: Characters of the secret at the end of a key.
SECRET_CHARS = 43


def make_key(org_id: str = "acme", **fields: Any) -> NewKey:  # noqa: ANN401
    """Store a key with all rights, unless `fields` differ, and return it."""
    organization, _ = Organization.objects.get_or_create(org_id=org_id)
    new = NewKey.make()
    usual = {"name": "test", "scopes": ["admin"]}
    ApiKey.objects.create(
        organization=organization,
        prefix=new.prefix,
        secret_hash=new.secret_hash,
        **usual | fields,
    )
    secrets.register(f"the API key {new.prefix}", new.text[-SECRET_CHARS:])
    return new
