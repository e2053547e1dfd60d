"""The limits that apply to a caller: rows of `Limit`, and those of its agent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial

import msgspec
from django.db.models import Q

from streaming.account_models import Limit, LimitSubject, account_key
from streaming.prices import PARTS
from streaming.principals import Principal

#: The start of a credential that is an API key; its prefix follows.
KEY = "key:"


class Amounts(msgspec.Struct, frozen=True):
    """The limits of a caller; None: no limit. Costs in billionths of a US dollar."""

    concurrent_runs: int | None = None
    runs_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    cost_per_day: int | None = None
    cost_per_month: int | None = None

    @property
    def has_cost(self) -> bool:
        """Whether it limits the cost."""
        return (self.cost_per_day, self.cost_per_month) != (None, None)


class CallerLimit(msgspec.Struct, frozen=True):
    """Limits, the account that they bound, and the runs that count."""

    #: As in `Account.key`.
    account: str
    #: The caller in words, as in "this organization".
    subject: str
    amounts: Amounts
    #: The condition for the runs of the account.
    runs: Mapping[str, str]


def amounts(values: Callable[[str], int | float | Decimal | None]) -> Amounts:
    """Return the limits that a function gives by name, with costs in US dollars."""
    found: dict[str, int | None] = {}
    for name in Amounts.__struct_fields__:
        value = values(name)
        if value is not None and name.startswith("cost"):
            value = Decimal(str(value)) * PARTS
        found[name] = None if value is None else int(value)
    return Amounts(**found)


def limits_of(principal: Principal) -> list[CallerLimit]:
    """Return the limits of a caller by the rows of the database."""
    rows = list(
        Limit.objects.filter(
            Q(organization=None) | Q(organization__org_id=principal.org_id)
        )
    )
    return [
        CallerLimit(account, subject, amounts(partial(getattr, row)), runs)
        for kind, name, account, subject, runs in _callers(principal)
        if (row := _most_specific(rows, kind, name))
    ]


def agent_limit(principal: Principal, agent: str, given: Amounts) -> CallerLimit:
    """Return the limits of an agent for each of its users, for this one."""
    user = principal.user or principal.owner or principal.credential
    runs = {
        "organization__org_id": principal.org_id,
        "agent": agent,
        "owner": principal.owner,
        "user": principal.user,
    }
    account = account_key("agent", agent, principal.org_id, user)
    return CallerLimit(account, f"the agent {agent!r}", given, runs)


def _callers(
    principal: Principal,
) -> Iterator[tuple[LimitSubject, str, str, str, Mapping[str, str]]]:
    own = {"organization__org_id": principal.org_id}
    yield (
        LimitSubject.ORGANIZATION,
        "",
        account_key("organization", principal.org_id),
        "this organization",
        own,
    )
    if user := principal.user:
        account = account_key("user", principal.org_id, user)
        yield LimitSubject.USER, user, account, "this user", own | {"user": user}
    if principal.credential.startswith(KEY):
        key = principal.credential.removeprefix(KEY)
        runs = {"credential": principal.credential}
        yield LimitSubject.KEY, key, account_key("key", key), "this API key", runs


def _most_specific(
    rows: Sequence[Limit], kind: LimitSubject, name: str
) -> Limit | None:
    matching = [row for row in rows if row.kind == kind and row.name in ("", name)]
    return max(
        matching,
        key=lambda row: (bool(row.name), row.organization_id is not None),
        default=None,
    )
