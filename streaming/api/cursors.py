"""Cursors of list responses: opaque to clients, two values for the server."""

import base64

from streaming.exceptions import FieldError, InvalidRequest


def encode(name: str, key: int) -> str:
    """Return the cursor of two values."""
    return base64.urlsafe_b64encode(f"{name}|{key}".encode()).decode()


def decode(cursor: str) -> tuple[str, str]:
    """Return the values of a cursor. Raises `ValueError`."""
    name, key = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
    return name, key


def invalid() -> InvalidRequest:
    """Return the error of a cursor that no page of this list had."""
    message = "must be a next_cursor of an earlier page"
    return InvalidRequest([FieldError("cursor", message)])
