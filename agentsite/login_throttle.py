"""The limits of failed logins, which hold across processes: they count in the database.

No limit locks a user out. Failures from other addresses leave each address one attempt
in five minutes, and that one succeeds with the right password.
"""

import unicodedata
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from math import ceil

from django.core.signing import Signer
from django.utils import timezone

from agentsite.models import LoginAttempt

#: The time for which a failure counts.
WINDOW = timedelta(minutes=5)
#: Failures of one user name at one address.
MAX_PER_NAME_AND_ADDRESS = 5
#: Failures of one address, with any user names.
MAX_PER_ADDRESS = 30
#: Failures of one user name at all addresses, after which each has one attempt.
MAX_PER_NAME = 20
#: An IPv6 client usually owns a network of this prefix.
_IPV6_PREFIX = 64


class TooManyAttempts(Exception):
    """A login that must wait, for `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Retry after {retry_after} seconds.")
        self.retry_after = retry_after


def begin(user_name: str, address: str) -> LoginAttempt:
    """Store an attempt before its password is checked. Raises `TooManyAttempts`.

    Attempts at the same time count too: each is stored before the others are counted.
    A refused attempt does not count, so that no refusal prolongs another.
    """
    now = timezone.now()
    LoginAttempt.objects.filter(at__lt=now - WINDOW).delete()
    attempt = LoginAttempt.objects.create(
        name=_hash("name", unicodedata.normalize("NFKC", user_name).casefold()),
        address=_hash("address", _network(address)),
        at=now,
    )
    if wait := _wait(attempt):
        attempt.delete()
        raise TooManyAttempts(ceil(wait.total_seconds()))
    return attempt


def forget(attempt: LoginAttempt) -> None:
    """Delete the attempts of a user name at an address, after a login."""
    LoginAttempt.objects.filter(name=attempt.name, address=attempt.address).delete()


def _wait(attempt: LoginAttempt) -> timedelta:
    """Return the time until an attempt is allowed; zero if it is."""
    others = LoginAttempt.objects.exclude(pk=attempt.pk)
    of_name = others.filter(name=attempt.name)
    is_attacked = of_name.count() >= MAX_PER_NAME
    limits = (
        (others.filter(address=attempt.address), MAX_PER_ADDRESS),
        (
            of_name.filter(address=attempt.address),
            1 if is_attacked else MAX_PER_NAME_AND_ADDRESS,
        ),
    )
    waits = [timedelta()]
    for attempts, limit in limits:
        times: list[datetime] = [*attempts.order_by("-at").values_list("at", flat=True)]
        if len(times) >= limit:
            waits.append(times[limit - 1] + WINDOW - attempt.at)
    return max(waits)


def _network(address: str) -> str:
    """Return an address, or the network of one client where it has many addresses."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # of a Unix socket, or none
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(int(parsed) >> (128 - _IPV6_PREFIX))
    return address


def _hash(kind: str, value: str) -> str:
    return Signer(salt=f"agentsite.login_throttle.{kind}").signature(value)
