"""The details of errors that clients receive."""

from typing import NamedTuple

#: The limits of an invalid request's details. A field's name is the client's own text.
#: With them the response stays below 10 kB, however its characters are encoded.
MAX_DETAILS = 10
MAX_FIELD_CHARS = 60
MAX_MESSAGE_CHARS = 200


class FieldError(NamedTuple):
    """A field of an invalid request: its path, and the problem."""

    field: str
    message: str

    def shortened(self) -> "FieldError":
        """Return the same within the limits, and without control characters."""
        shown = (c if c.isprintable() else "\ufffd" for c in self.field[:1000])
        field = shortened("".join(shown), MAX_FIELD_CHARS)
        return FieldError(field, shortened(self.message, MAX_MESSAGE_CHARS))


class Rate(NamedTuple):
    """A limit of runs in a minute: its rest, and the seconds until it begins anew."""

    limit: int
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell it to the client."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_seconds),
        }


def shortened(text: str, limit: int) -> str:
    """Return the beginning of a text, with a sign of what is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
