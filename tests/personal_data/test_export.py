"""The export: every row, no secret, a page in memory at a time, a private file."""

import json
import stat
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from streaming.models import Account, ApiKey, AuditRecord, Organization, RunInput
from streaming.personal_data import export
from streaming.personal_data.selection import Selection, own_models
from tests.admin.history import make_conversation
from tests.personal_data.rows import add_run, make_data, make_users

pytestmark = pytest.mark.django_db

Line = dict[str, Any]


def exported(org_id: str, user: str = "") -> list[Line]:
    """Return the lines of an export, as the command writes them."""
    output = StringIO()
    arguments = ["--organization", org_id, *(["--user", user] if user else [])]
    call_command("export_data", *arguments, stdout=output)
    assert output.getvalue().endswith("\n")
    return [json.loads(line) for line in output.getvalue().split("\n")[:-1]]


def kinds(lines: list[Line]) -> Counter[str]:
    return Counter(line["type"] for line in lines)


def test_an_organization_is_exported_with_all_its_rows() -> None:
    make_users()
    make_data("umbrella")
    lines = exported("acme")
    assert (lines[0]["type"], lines[0]["organization"]) == ("export", "acme")
    assert kinds(lines) == {
        "export": 1,
        "organization": 1,
        "conversation": 2,
        "run": 2,
        "message": 8,
        "event": 40,
        "apikey": 2,
        "auditrecord": 2,
        "end": 1,
    }
    counts = kinds(lines[1:-1])
    assert lines[-1] == {"type": "end", "counts": counts}
    events = [line for line in lines if line["type"] == "event"]
    assert [e["number"] for e in events[:20]] == list(range(1, 21))
    assert events[3]["event"]["content"] == "delta 3 "


def test_a_user_is_exported_without_the_rows_of_others() -> None:
    alice, bob = make_users()
    shared = make_conversation("acme")
    add_run(shared, alice)
    add_run(shared, bob)
    lines = exported("acme", alice)
    assert kinds(lines) == {
        "export": 1,
        "conversation": 1,
        "run": 2,
        "message": 8,
        "event": 40,
        "apikey": 1,
        "auditrecord": 1,
        "end": 1,
    }
    text = json.dumps(lines)
    assert f"secret of {alice}" in text
    assert f"secret of {bob}" not in text
    assert f"key of {bob}" not in text


def test_no_export_has_the_hash_of_a_key() -> None:
    make_users()
    key = ApiKey.objects.all()[0]
    text = json.dumps(exported("acme"))
    assert key.prefix in text
    assert key.secret_hash not in text


def test_rows_are_read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_data("acme")
    add_run(run.conversation, "")
    organization = Organization.objects.get()
    monkeypatch.setattr(export, "MESSAGES", 3)
    with CaptureQueriesContext(connection) as queries:
        lines = list(export.export_lines(Selection(organization)))
    assert len([line for line in lines if b'"type":"message"' in line]) == 8
    pages = [q["sql"] for q in queries if 'FROM "streaming_message"' in q["sql"]]
    assert len(pages) == 4
    assert all("LIMIT 3" in sql for sql in pages)


def test_each_model_of_the_app_is_exported() -> None:
    """A new model is reached through its organization, or needs a function."""
    for model in own_models():
        names = [field.name for field in model._meta.concrete_fields]
        is_reached = "organization" in names or model is Account
        assert is_reached, f"{model.__name__} is not exported"


def test_a_file_is_private_and_replaced_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data("acme")
    path = tmp_path / "data.jsonl"
    path.write_text("before")
    path.chmod(0o644)

    def broken(_: Selection) -> Iterator[bytes]:
        yield b"{}\n"
        raise RuntimeError("killed")

    command = "streaming.management.commands.export_data"
    with monkeypatch.context() as patched:
        patched.setattr(f"{command}.export_lines", broken)
        with pytest.raises(RuntimeError, match="killed"):
            call_command("export_data", "--organization=acme", f"--output={path}")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    assert not AuditRecord.objects.exists()
    call_command("export_data", "--organization=acme", f"--output={path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text().splitlines()[-1])["type"] == "end"
    record = AuditRecord.objects.get()
    assert (record.action, record.target) == ("data.exported", "organization:acme")


def test_what_cannot_be_exported_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no organization 'acme'"):
        call_command("export_data", "--organization=acme")
    make_data("acme")
    missing = tmp_path / "no" / "data.jsonl"
    with pytest.raises(CommandError, match="No such file"):
        call_command("export_data", "--organization=acme", f"--output={missing}")


def test_the_texts_that_steered_a_run_are_exported_with_it() -> None:
    run = make_data("acme")
    for number, text in enumerate(("first text", "second text"), start=1):
        RunInput.objects.create(run=run, number=number, text=text)
    texts = [line["text"] for line in exported("acme") if line["type"] == "runinput"]
    assert texts == ["first text", "second text"]
