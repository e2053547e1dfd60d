"""Signed tokens of runs, and the URL that they are taken out of."""

from datetime import timedelta

import pytest
from django.core import signing
from django.test import AsyncRequestFactory, override_settings
from django.utils import timezone

from streaming.auth.keys.query import TOKEN, hide_token, move_token, taken_token
from streaming.auth.keys.run_tokens import (
    LIFETIME,
    SALT,
    RunToken,
    read_token,
    sign_token,
    token_expiry,
)
from streaming.auth.keys.sealing import seal, unseal
from streaming.auth.sessions import SessionPrincipal, credential_of
from streaming.exceptions import Unauthenticated
from streaming.principals import Principal

NOW = timezone.now()
CALLER = Principal("acme", "7", "7", frozenset({"run", "read"}), "key:0123456789ab")
EVENTS = "/api/v1/agent/runs/r1/events"


def test_a_token_reads_one_run_for_its_caller() -> None:
    token = read_token(sign_token("r1", CALLER, NOW), "r1")
    expected = Principal("acme", "7", "7", frozenset({"read"}), CALLER.credential)
    assert token == RunToken("r1", expected, NOW)


SESSION_KEY = "s3ss10nkey" * 3
SESSION = SessionPrincipal(
    "default",
    "7",
    "7",
    credential=credential_of(SESSION_KEY),
    session_key=SESSION_KEY,
)


def test_a_token_has_the_session_that_signed_it_sealed() -> None:
    text = sign_token("r1", SESSION, NOW)
    principal = read_token(text, "r1").principal
    assert isinstance(principal, SessionPrincipal)
    assert principal.session_key == SESSION_KEY
    assert principal.credential == SESSION.credential
    assert principal.scopes == {"read"}
    *_, sealed = signing.Signer(salt=SALT).unsign_object(text)
    assert SESSION_KEY not in text + sealed
    assert seal(SESSION_KEY) != seal(SESSION_KEY)
    with override_settings(SECRET_KEY="another"):
        assert [*unseal(sealed)] != [SESSION_KEY]


def test_the_sealed_session_is_read_after_the_secret_key_was_rotated() -> None:
    with override_settings(SECRET_KEY="old"):
        text = sign_token("r1", SESSION, NOW)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["older", "old"]):
        principal = read_token(text, "r1").principal
        assert isinstance(principal, SessionPrincipal)
        assert principal.session_key == SESSION_KEY


def test_any_other_text_is_refused() -> None:
    token = sign_token("r1", CALLER, NOW)
    for text in (
        *("", "x", ":", "é:ü", "x" * 60_000, token[:-1], f"{token}x"),
        sign_token("r2", CALLER, NOW),
        signing.Signer().sign_object(["r1"]),
        signing.dumps(["r1"]),
    ):
        with pytest.raises(Unauthenticated):
            read_token(text, "r1")


def test_a_token_is_valid_after_the_secret_key_was_rotated() -> None:
    with override_settings(SECRET_KEY="old"):
        text = sign_token("r1", CALLER, NOW)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        assert read_token(text, "r1").principal.org_id == "acme"
    with override_settings(SECRET_KEY="new"), pytest.raises(Unauthenticated):
        read_token(text, "r1")


def test_a_token_is_valid_until_ten_minutes_after_the_end_of_its_run() -> None:
    token = read_token(sign_token("r1", CALLER, NOW), "r1")
    end = NOW + timedelta(hours=5)
    assert token_expiry(None, NOW) is None
    assert not token.has_expired(None, NOW + timedelta(days=100))
    assert not token.has_expired(end, end + LIFETIME - timedelta(seconds=1))
    assert token.has_expired(end, end + LIFETIME)
    # A run that had ended before can be read for ten minutes from the signature.
    before = NOW - timedelta(days=1)
    assert token_expiry(before, NOW) == NOW + LIFETIME


@pytest.mark.parametrize(
    ("query", "kept", "token"),
    [
        (b"token=a:b", b"token=***", "a:b"),
        (b"after=3&token=a%3Ab&events=done", b"after=3&token=***&events=done", "a:b"),
        (b"token=a&token=b", b"token=***&token=***", "a"),
        (b"token=", b"token=***", ""),
        (b"token=\xff\xc3", b"token=***", "\xff\xc3"),
    ],
)
def test_a_token_leaves_the_url(query: bytes, kept: bytes, token: str) -> None:
    scope = {"path": EVENTS, "query_string": query}
    move_token(scope)
    assert scope == {"path": EVENTS, "query_string": kept, TOKEN: token}
    copied = dict(scope)
    move_token(copied)  # by another layer of the server
    assert copied == scope


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/reset/", b"token=of-another-app"),
        ("/api/v2/agent/runs/r1/events", b"token=of-another-app"),
        (EVENTS, b"after=3&mytoken=x"),
        (EVENTS, b""),
    ],
)
def test_other_urls_stay_as_they_are(path: str, query: bytes) -> None:
    scope = {"path": path, "query_string": query}
    move_token(scope)
    assert scope == {"path": path, "query_string": query}


@pytest.mark.parametrize("path", ["/runs/r1", "/runs/r1/events/", "/conversations"])
def test_a_token_leaves_a_wrong_url_too(path: str) -> None:
    scope = {"path": f"/agents/api/v1/agent{path}", "query_string": b"token=x&a=1"}
    move_token(scope)
    assert scope["query_string"] == b"token=***&a=1"


def test_a_request_has_no_token_left() -> None:
    request = AsyncRequestFactory().get(f"{EVENTS}?after=3&token=secret")
    assert request.GET["token"] == "secret"  # caches the query
    hide_token(request)
    hide_token(request)
    assert taken_token(request) == "secret"
    assert request.GET.dict() == {"after": "3", "token": "***"}
    for kept in (request.META, request.get_full_path(), request.scope["query_string"]):
        assert "secret" not in repr(kept)
