"""The commands that create and revoke keys."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from streaming.auth.keys.material import prove
from streaming.models import ApiKey, AuditRecord, Organization
from tests.auth.keys.rows import make_key

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> tuple[str, str]:
    """Run a command; return its standard output and its errors."""
    output, errors = StringIO(), StringIO()
    call_command(name, *arguments, stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


def create(*arguments: str) -> tuple[str, str]:
    return run("create_api_key", "--organization", "acme", "--name", "CI", *arguments)


def test_the_key_alone_is_the_output_and_only_its_hash_is_stored() -> None:
    output, errors = create()
    proof = prove(output.strip())
    key = ApiKey.objects.get()
    assert (key.prefix, key.secret_hash) == (proof.prefix, proof.secret_hash)
    assert (key.organization.org_id, key.name, key.user) == ("acme", "CI", "")
    assert key.scopes == ["run", "read", "cancel"]
    assert key.expires_at is None
    secret = output.strip()[-43:]
    assert proof.prefix in errors
    assert "'acme' is new" in errors
    assert secret not in errors
    stored = [*ApiKey.objects.values(), *AuditRecord.objects.values()]
    assert secret not in repr(stored)


def test_the_options_are_stored() -> None:
    user = User.objects.create(username="alice")
    Organization.objects.create(org_id="acme")
    _, errors = create(
        *("--user", str(user.pk), "--scope", "read", "--scope", "run"),
        *("--expires", "2999-01-31T12:00Z"),
    )
    key = ApiKey.objects.get()
    assert (key.user, key.scopes) == (str(user.pk), ["read", "run"])
    assert key.expires_at and key.expires_at.isoformat() == "2999-01-31T12:00:00+00:00"
    assert "is new" not in errors
    record = AuditRecord.objects.get()
    assert (record.action, record.actor) == ("key.created", "command")
    assert (record.target, record.org_id) == (f"key:{key.prefix}", "acme")
    assert record.details["scopes"] == ["read", "run"]


def test_the_user_has_the_key_of_its_runs() -> None:
    user = User.objects.create(username="alice")
    create("--user", f" 0{user.pk}")
    assert ApiKey.objects.get().user == str(user.pk)


def test_an_expiry_is_a_number_of_days_or_the_end_of_a_date() -> None:
    create("--expires", "90d")
    key = ApiKey.objects.get()
    assert key.expires_at
    assert abs(key.expires_at - timezone.now() - timedelta(days=90)) < timedelta(
        hours=1
    )
    key.delete()
    create("--expires", "2999-01-31")
    key = ApiKey.objects.get()
    assert key.expires_at and key.expires_at.isoformat().startswith(
        "2999-01-31T23:59:59"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--user", "999"], "--user: No user has the primary key 999."),
        (["--user", "x\0"], "--user: "),
        (["--expires", "2001-01-01"], "--expires_at: This time is in the past."),
        (["--expires", "2001-02-30"], "is not a time"),
        (["--expires", "soon"], "is not a time"),
        (["--scope", "root"], "invalid choice"),
        (["--organization", ""], "--organization: expected 1 to 128"),
        (["--organization", "x" * 129], "--organization: expected 1 to 128"),
        (["--name", "x" * 101], "--name: "),
    ],
)
def test_invalid_options_create_no_key(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        create(*arguments)
    assert not ApiKey.objects.exists()


def test_a_key_is_revoked_by_its_prefix() -> None:
    key, other = make_key(), make_key()
    output, _ = run("revoke_api_key", key.prefix)
    assert output == f"{key.prefix}: revoked\n"
    valid = ApiKey.objects.get(revoked_at=None)
    assert valid.prefix == other.prefix
    first = ApiKey.objects.get(prefix=key.prefix).revoked_at
    output, _ = run("revoke_api_key", f"agk_{key.prefix}")
    assert output == f"{key.prefix}: was revoked before\n"
    assert ApiKey.objects.get(prefix=key.prefix).revoked_at == first
    record = AuditRecord.objects.get()
    assert (record.action, record.target) == ("key.revoked", f"key:{key.prefix}")


def test_an_unknown_prefix_revokes_nothing_and_is_not_repeated_in_full() -> None:
    key = make_key()
    with pytest.raises(CommandError) as refused:
        run("revoke_api_key", key.prefix, key.text)
    assert key.text[-43:] not in str(refused.value)
    assert not ApiKey.objects.exclude(revoked_at=None).exists()
