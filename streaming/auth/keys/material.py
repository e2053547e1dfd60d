"""The text of an API key: `agk_PREFIX_SECRET`.

The prefix is public: it finds the row, and names the key in logs and in the admin. The
secret has 256 random bits. It is hashed where it arrives, and passed on nowhere.
"""

import hashlib
import re
import secrets
from typing import Self

import msgspec

#: The beginning of each key, by which scanners of secrets recognise it.
MARK = "agk_"
PREFIX_BYTES, SECRET_BYTES = 6, 32
_KEY = re.compile(rf"{MARK}([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")
PREFIX = re.compile(r"[0-9a-f]{12}")


class NewKey(msgspec.Struct, frozen=True):
    """A key at its creation, the only time at which its text is in this process."""

    prefix: str
    text: str

    @classmethod
    def make(cls, prefix: str = "") -> Self:
        """Return a new key; an empty prefix stands for a random one."""
        prefix = prefix or new_prefix()
        return cls(prefix, f"{MARK}{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}")

    @property
    def secret_hash(self) -> str:
        """The hash by which the key is recognised."""
        return prove(self.text).secret_hash

    def __repr__(self) -> str:
        """Return a text without the secret."""
        return f"{type(self).__name__}({self.prefix!r})"


class KeyProof(msgspec.Struct, frozen=True):
    """A key as it was presented: its prefix, and the hash of its secret."""

    prefix: str
    secret_hash: str


def new_prefix() -> str:
    """Return a random prefix."""
    return secrets.token_hex(PREFIX_BYTES)


def is_key(text: str) -> bool:
    """Return true for a text that is meant to be a key of this app, valid or not."""
    return text.startswith(MARK)


def prove(text: str) -> KeyProof:
    """Return the proof of a key. Raises `ValueError` for any other text."""
    found = _KEY.fullmatch(text)
    if not found:
        raise ValueError("not an API key")
    prefix, secret = found.groups()
    return KeyProof(prefix, hashlib.sha256(secret.encode()).hexdigest())


def hide_keys(text: str) -> str:
    """Return a text in which only the prefixes of keys are left."""
    return _KEY.sub(rf"{MARK}\1_***", text)
