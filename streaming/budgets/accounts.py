"""The accounts of callers: admission, reservation and settlement, each one transaction.

Before a model call its highest possible use is reserved; afterwards its real use is
settled. Settled and reserved use together never exceed a limit, in all processes. An
account is locked before it is read. All transactions lock accounts in one order.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from django.db.models import Exists, F, OuterRef, QuerySet

from streaming.account_models import Account, Reservation
from streaming.budgets.limits import CallerLimit
from streaming.exceptions import BudgetExhausted, Rate, RateLimited
from streaming.models import HAS_NOT_ENDED, IS_ACTIVE, Run
from streaming.storage.sql import database_time

logger = logging.getLogger(__name__)

#: Periods of an account after whose end it is deleted.
KEPT = timedelta(days=400)
#: The period of the row that is locked while active runs are counted.
_ALWAYS = "runs"


class Use(msgspec.Struct, frozen=True):
    """Tokens, and their cost in billionths of a US dollar."""

    tokens: int = 0
    cost: int = 0

    def __add__(self, other: "Use") -> "Use":
        return Use(self.tokens + other.tokens, self.cost + other.cost)


class Period(msgspec.Struct, frozen=True, order=True):
    """A day, month or minute of UTC."""

    name: str
    ends_at: datetime

    def seconds_left(self, now: datetime) -> float:
        """Return the time until its end, at least a second."""
        return max((self.ends_at - now).total_seconds(), 1.0)


class Budget(msgspec.Struct, frozen=True):
    """One limit of an account in one period."""

    account: str
    period: Period
    #: As in "tokens_per_day of this user".
    limit: str
    #: The field of a `Use` and of an `Account` that it bounds.
    field: Literal["tokens", "cost"]
    most: int

    def allows(self, row: Account, more: Use) -> bool:
        """Return whether the account may be charged with more."""
        settled, reserved = (
            getattr(row, f"{p}{self.field}") for p in ("", "reserved_")
        )
        return bool(settled + reserved + getattr(more, self.field) <= self.most)


def admit(
    callers: Sequence[Sequence[CallerLimit]], conversations: Sequence[int | None]
) -> list[Rate | None]:
    """Count new runs, one for each of `callers`, against the limits of each.

    `conversations` has the conversation of each run; None: a new one.
    Returns what is left of the tightest limit of runs in a minute, for each caller.
    Raises `RateLimited` or `BudgetExhausted`, which name the limit.
    """
    now = database_time()
    limits = {limit.account: limit for limit in _flat(callers)}
    new = Counter(limit.account for limit in _flat(callers))
    used = [
        (limit.account, conversation)
        for limits_of_run, conversation in zip(callers, conversations, strict=True)
        for limit in limits_of_run
    ]
    minute, _, _ = _periods(now)
    budgets = _budgets(limits.values(), now)
    rows = _locked(
        [(budget.account, budget.period) for budget in budgets]
        + [
            (account, period)
            for account, limit in limits.items()
            for period, value in (
                (minute, limit.amounts.runs_per_minute),
                (Period(_ALWAYS, now + KEPT), limit.amounts.concurrent_runs),
            )
            if value is not None
        ]
    )
    for budget in budgets:
        # A budget of which nothing is left; a call is bounded when it is reserved.
        if not budget.allows(rows[budget.account, budget.period.name], Use(1, 1)):
            raise exhausted(budget, now)
    rates: dict[str, Rate] = {}
    for account, limit in limits.items():
        _check_runs(limit, [conversation for of, conversation in used if of == account])
        if (most := limit.amounts.runs_per_minute) is not None:
            row = rows[account, minute.name]
            seconds = math.ceil(minute.seconds_left(now))
            rates[account] = _count_in_minute(limit, most, new[account], row, seconds)
    return [
        min(
            (rates[limit.account] for limit in limits if limit.account in rates),
            key=lambda rate: rate.remaining,
            default=None,
        )
        for limits in callers
    ]


def reserve(
    run_id: str, call: int, limits: Sequence[CallerLimit], need: Use, spent: Use
) -> Budget | None:
    """Reserve the highest use of a call, after the settlement of the calls before it.

    Returns the budget that does not allow it, or None. May be repeated: a call that is
    reserved already is not reserved again.
    """
    own = Reservation.objects.filter(run_id=run_id)
    if own.filter(call=call).exists():
        return None
    settle(run_id, spent)
    budgets = _budgets(limits, database_time())
    rows = _locked([(budget.account, budget.period) for budget in budgets])
    for budget in budgets:
        if not budget.allows(rows[budget.account, budget.period.name], need):
            return budget
    for row in rows.values():
        row.reserved_tokens = F("reserved_tokens") + need.tokens
        row.reserved_cost = F("reserved_cost") + need.cost
        row.save(update_fields=["reserved_tokens", "reserved_cost"])
    Reservation.objects.bulk_create(
        Reservation(
            run_id=run_id, call=call, account=row, tokens=need.tokens, cost=need.cost
        )
        for row in rows.values()
    )
    return None


def settle(run_id: str, spent: Use | None) -> None:
    """Charge the use of a run's reserved call; None: unknown, the reserved use.

    May be repeated: only a reservation that still exists is charged.
    """
    own = Reservation.objects.filter(run_id=run_id)
    keys = list(own.values_list("account_id", flat=True))
    if not keys:
        return
    locked = Account.objects.filter(pk__in=keys).select_for_update()
    rows = {row.pk: row for row in locked.order_by("key", "period")}
    # Read again: another process may have settled them before it gave the locks back.
    held = list(own.filter(account_id__in=rows).order_by("account_id"))
    for each in held:
        used = spent or Use(each.tokens, each.cost)
        if used.tokens > each.tokens or used.cost > each.cost:
            logger.warning(
                "provider counted more than was reserved: %d tokens, reserved %d",
                used.tokens,
                each.tokens,
                extra={"run_id": run_id},
            )
        row = rows[each.account_id]
        row.tokens += used.tokens
        row.cost += used.cost
        row.reserved_tokens = max(row.reserved_tokens - each.tokens, 0)
        row.reserved_cost = max(row.reserved_cost - each.cost, 0)
        row.save()
    Reservation.objects.filter(pk__in=[each.pk for each in held]).delete()


def settle_abandoned() -> int:
    """Charge the reserved calls of runs that have ended or were deleted.

    Their process died, or they were deleted: the real use is unknown. Returns the
    number of runs.
    """
    active = Run.objects.filter(IS_ACTIVE, pk=OuterRef("run_id"))
    left = Reservation.objects.filter(~Exists(active))
    abandoned = sorted(set(left.values_list("run_id", flat=True)))
    for run_id in abandoned:
        settle(run_id, None)
    return len(abandoned)


def expired_accounts(now: datetime) -> QuerySet[Account]:
    """Return the accounts of periods that ended long ago."""
    return Account.objects.filter(ends_at__lt=now - KEPT)


def exhausted(budget: Budget, now: datetime) -> BudgetExhausted:
    """Return the error of a caller whose budget allows nothing more."""
    return BudgetExhausted(
        f"The limit {budget.limit} is reached.",
        retry_after=budget.period.seconds_left(now),
    )


def _flat(callers: Iterable[Sequence[CallerLimit]]) -> Iterable[CallerLimit]:
    return (limit for limits in callers for limit in limits)


def _budgets(limits: Iterable[CallerLimit], now: datetime) -> list[Budget]:
    _, day, month = _periods(now)
    fields: tuple[Literal["tokens", "cost"], ...] = ("tokens", "cost")
    return [
        Budget(limit.account, period, f"{name} of {limit.subject}", field, most)
        for limit in limits
        for period, word in ((day, "day"), (month, "month"))
        for field in fields
        for name in [f"{field}_per_{word}"]
        if (most := getattr(limit.amounts, name)) is not None
    ]


def _locked(
    wanted: Sequence[tuple[str, Period]],
) -> Mapping[tuple[str, str], Account]:
    """Return the rows of accounts in periods, created if missing, and locked."""
    if not wanted:
        return {}
    Account.objects.bulk_create(
        [
            Account(key=key, period=period.name, ends_at=period.ends_at)
            for key, period in sorted(set(wanted))
        ],
        ignore_conflicts=True,
    )
    names = {(key, period.name) for key, period in wanted}
    rows = Account.objects.filter(
        key__in={key for key, _ in names}, period__in={name for _, name in names}
    )
    locked = rows.select_for_update().order_by("key", "period")
    found = {(row.key, row.period): row for row in locked}
    return {name: found[name] for name in sorted(names)}


def _check_runs(limit: CallerLimit, new: Sequence[int | None]) -> None:
    """Raise `RateLimited` if runs in these conversations could exceed a limit.

    A conversation has one active run at a time. Those with a run that has not ended
    are therefore the most runs of the caller that can be active together.
    """
    most = limit.amounts.concurrent_runs
    if most is None:
        return
    own = Run.objects.filter(HAS_NOT_ENDED, **limit.runs).order_by()
    present = set(own.values_list("conversation_id", flat=True).distinct())
    if len(present.union(new) - {None}) + new.count(None) > most:
        raise RateLimited(f"The limit concurrent_runs of {limit.subject} is reached.")


def _count_in_minute(
    limit: CallerLimit, most: int, new: int, row: Account, seconds: int
) -> Rate:
    left = most - row.runs
    if new > left:
        error = RateLimited(
            f"The limit runs_per_minute of {limit.subject} is reached.",
            retry_after=seconds,
        )
        error.rate = Rate(most, max(left, 0), seconds)
        raise error
    row.runs += new
    row.save(update_fields=["runs"])
    return Rate(most, left - new, seconds)


def _periods(now: datetime) -> tuple[Period, Period, Period]:
    """Return the minute, the day and the month of a time."""
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    day = minute.replace(hour=0, minute=0)
    month = day.replace(day=1)
    following = (month + timedelta(days=32)).replace(day=1)
    return (
        Period(f"minute {minute:%Y-%m-%dT%H:%M}", minute + timedelta(minutes=1)),
        Period(f"day {day:%Y-%m-%d}", day + timedelta(days=1)),
        Period(f"month {month:%Y-%m}", following),
    )
