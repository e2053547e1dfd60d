"""The permission that an agent or a tool requires of a caller."""

import re
from collections.abc import Awaitable, Callable, Sequence

from streaming.principals import Principal

#: A codename of Django (`shop.refund_order`), a function of the principal, sync or
#: async, or one of the two words below.
Permission = str | Callable[[Principal], bool | Awaitable[bool]]
#: Decides on several permissions of one caller.
Decide = Callable[[Sequence[Permission], Principal], Awaitable[Sequence[bool]]]

#: Every caller, also without credentials.
ANYONE = "anyone"
#: Every caller that has proved an identity.
AUTHENTICATED = "authenticated"

_CODENAME = re.compile(r"\w+\.\w+")


def is_permission(value: object) -> bool:
    """Return true for a value that can be a permission."""
    if isinstance(value, str):
        return value in (ANYONE, AUTHENTICATED) or bool(_CODENAME.fullmatch(value))
    return callable(value)


#: The accepted values in words.
EXPECTED = (
    f"{ANYONE!r}, {AUTHENTICATED!r}, a codename as 'shop.refund_order', or a function "
    "of the principal"
)
