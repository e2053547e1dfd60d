"""Text that only this site can read, in tokens that others hold.

The text is combined with a pad that follows from `SECRET_KEY` and a random nonce: each
pad is used once. It is not authenticated: the token that contains it is signed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator

from django.conf import settings
from django.core.signing import b64_decode, b64_encode

SALT = "streaming.auth.keys.sealing"
NONCE_BYTES = 16


def seal(text: str) -> str:
    """Return a text unreadable; different each time."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = _combined(text.encode(), settings.SECRET_KEY, nonce)
    return b64_encode(nonce + sealed).decode()


def unseal(sealed: str) -> Iterator[str]:
    """Yield the text by `SECRET_KEY` and by each of `SECRET_KEY_FALLBACKS`.

    One of them is right; the caller recognizes it.
    """
    data = b64_decode(sealed.encode())
    nonce, rest = data[:NONCE_BYTES], data[NONCE_BYTES:]
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        yield _combined(rest, key, nonce).decode(errors="replace")


def _combined(data: bytes, key: str | bytes, nonce: bytes) -> bytes:
    secret = key if isinstance(key, bytes) else key.encode()
    derived = hashlib.sha256(SALT.encode() + secret).digest()
    seed = hmac.digest(derived, nonce, "sha256")
    pad = hashlib.shake_256(seed).digest(len(data))
    return bytes(one ^ other for one, other in zip(data, pad, strict=True))
