"""Signed tokens that let their holder read the events of one run.

A browser's EventSource cannot send headers, so its token stands in the URL. A token
names the caller for whom it was signed, with the caller's credential, and ends with
that credential; the key of a session is sealed in it. It is signed with
`SECRET_KEY`, and stored nowhere.
"""

from datetime import datetime, timedelta

import msgspec
from django.core import signing

from streaming.auth.keys.sealing import seal, unseal
from streaming.auth.sessions import SessionPrincipal, credential_of
from streaming.exceptions import Unauthenticated
from streaming.principals import Principal

SALT = "streaming.auth.keys.run_tokens.2"  # raised when the fields change
#: Validity after the end of the run or, if that is later, after the signature.
LIFETIME = timedelta(minutes=10)
INVALID = "The token is not valid for the events of this run."


class RunToken(msgspec.Struct, frozen=True):
    """A valid token: its principal may only read one run."""

    run_id: str
    principal: Principal
    signed_at: datetime

    def has_expired(self, ended_at: datetime | None, now: datetime) -> bool:
        """Return whether the token of a run with this end has expired."""
        expires_at = token_expiry(ended_at, self.signed_at)
        return expires_at is not None and expires_at <= now


def sign_token(run_id: str, caller: Principal, now: datetime) -> str:
    """Return a token for a run that the caller may read."""
    session = seal(caller.session_key) if isinstance(caller, SessionPrincipal) else ""
    fields = (caller.org_id, caller.user, caller.owner, caller.credential, session)
    return signing.Signer(salt=SALT).sign_object([run_id, now.isoformat(), *fields])


def read_token(text: str, run_id: str) -> RunToken:
    """Return a token of this run. Raises `Unauthenticated`."""
    try:
        signed = signing.Signer(salt=SALT).unsign_object(text)
        of_run, signed_at, *caller, session = signed
    except signing.BadSignature:
        raise Unauthenticated(INVALID) from None
    if of_run != run_id:
        raise Unauthenticated(INVALID)
    principal = _reader(session, *caller)
    return RunToken(of_run, principal, datetime.fromisoformat(signed_at))


def _reader(
    session: str, org_id: str, user: str, owner: str, credential: str
) -> Principal:
    """Return the caller that signed a token, as a reader."""
    fields = (org_id, user, owner, frozenset({"read"}), credential)
    if not session:
        return Principal(*fields)
    keys = [key for key in unseal(session) if credential_of(key) == credential]
    if not keys:  # the secret key with which it was sealed is no longer known
        raise Unauthenticated(INVALID)
    return SessionPrincipal(*fields, session_key=keys[0])


def token_expiry(ended_at: datetime | None, signed_at: datetime) -> datetime | None:
    """Return the end of a token's validity; None while its run has not ended."""
    return max(ended_at, signed_at) + LIFETIME if ended_at else None
