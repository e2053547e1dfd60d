"""Reservations and settlements never exceed a limit, and may be repeated."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from streaming.account_models import account_key
from streaming.budgets import accounts
from streaming.budgets.accounts import Use
from streaming.budgets.limits import Amounts, CallerLimit, agent_limit
from streaming.exceptions import BudgetExhausted, RateLimited
from streaming.models import Account, Conversation, Organization, Reservation, Run
from streaming.principals import Principal
from tests.writer import PATIENCE

pytestmark = pytest.mark.django_db


def caller(**amounts: int) -> Sequence[CallerLimit]:
    return [CallerLimit("user:acme:7", "this user", Amounts(**amounts), {"user": "7"})]


def held() -> list[tuple[str, int, int]]:
    rows = Account.objects.order_by("period")
    return [(r.period.split()[0], r.tokens, r.reserved_tokens) for r in rows]


def test_a_call_is_reserved_then_settled() -> None:
    limits = caller(tokens_per_day=1000, tokens_per_month=5000)
    assert accounts.reserve("run", 1, limits, Use(600, 0), Use()) is None
    assert held() == [("day", 0, 600), ("month", 0, 600)]
    accounts.settle("run", Use(150, 0))
    assert held() == [("day", 150, 0), ("month", 150, 0)]
    assert not Reservation.objects.exists()


def test_what_others_reserve_counts() -> None:
    limits = caller(tokens_per_day=1000)
    assert accounts.reserve("a", 1, limits, Use(600, 0), Use()) is None
    refused = accounts.reserve("b", 1, limits, Use(401, 0), Use())
    assert refused and refused.limit == "tokens_per_day of this user"
    assert held() == [("day", 0, 600)]
    assert accounts.reserve("b", 1, limits, Use(400, 0), Use()) is None


def test_the_smaller_of_two_budgets_decides_and_nothing_is_left_reserved() -> None:
    limits = caller(tokens_per_day=1000, cost_per_month=50)
    refused = accounts.reserve("a", 1, limits, Use(10, 51), Use())
    assert refused and refused.limit == "cost_per_month of this user"
    assert held() == [("day", 0, 0), ("month", 0, 0)]


def test_the_next_call_settles_the_one_before() -> None:
    limits = caller(tokens_per_day=1000)
    accounts.reserve("run", 1, limits, Use(900, 9), Use())
    assert accounts.reserve("run", 2, limits, Use(900, 9), Use(100, 1)) is None
    assert held() == [("day", 100, 900)]
    accounts.settle("run", Use(50, 1))
    assert held() == [("day", 150, 0)]


def test_each_statement_may_be_repeated() -> None:
    limits = caller(tokens_per_day=1000)
    for _ in range(2):
        assert accounts.reserve("run", 1, limits, Use(400, 0), Use()) is None
    assert held() == [("day", 0, 400)]
    for _ in range(2):
        assert accounts.reserve("run", 2, limits, Use(400, 0), Use(100, 0)) is None
    assert held() == [("day", 100, 400)]
    for _ in range(2):
        accounts.settle("run", Use(30, 0))
    assert held() == [("day", 130, 0)]


def test_the_use_of_an_abandoned_call_is_what_was_reserved() -> None:
    limits = caller(tokens_per_day=1000)
    organization = Organization.objects.create(org_id="acme")
    conversation = Conversation.objects.create(organization=organization)
    run = Run.objects.create(
        organization=organization, conversation=conversation, status="running"
    )
    accounts.reserve(run.id, 1, limits, Use(300, 0), Use())
    accounts.reserve("deleted", 1, limits, Use(200, 0), Use())
    assert accounts.settle_abandoned() == 1
    assert held() == [("day", 200, 300)]
    Run.objects.update(status="failed")
    assert accounts.settle_abandoned() == 1
    assert held() == [("day", 500, 0)]
    assert accounts.settle_abandoned() == 0


def _settle_abandoned(settled: threading.Event, commit: threading.Event) -> None:
    """Settle in a connection of the thread's own, as another process would."""
    try:
        with transaction.atomic():
            accounts.settle_abandoned()
            settled.set()
            assert commit.wait(PATIENCE)
    finally:
        connection.close()


def _waits_for_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE"
            " datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.postgresql
def test_two_processes_charge_an_abandoned_call_once() -> None:
    limits = caller(tokens_per_day=1000, tokens_per_month=5000)
    with transaction.atomic():
        accounts.reserve("deleted", 1, limits, Use(200, 0), Use())
    settled, commit = threading.Event(), threading.Event()
    ends = time.monotonic() + PATIENCE
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(_settle_abandoned, settled, commit)
        assert settled.wait(PATIENCE)
        second = threads.submit(_settle_abandoned, settled, commit)
        while not _waits_for_lock() and time.monotonic() < ends:
            time.sleep(0.01)
        commit.set()
        first.result(PATIENCE)
        second.result(PATIENCE)
    assert held() == [("day", 200, 0), ("month", 200, 0)]


def test_a_provider_that_counts_more_is_charged_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    accounts.reserve("run", 1, caller(tokens_per_day=100), Use(50, 0), Use())
    accounts.settle("run", Use(120, 0))
    assert held() == [("day", 120, 0)]
    assert "more than was reserved: 120 tokens, reserved 50" in caplog.text
    with pytest.raises(BudgetExhausted, match="tokens_per_day of this user") as refused:
        accounts.admit([caller(tokens_per_day=100)], [None])
    assert refused.value.retry_after and 1 <= refused.value.retry_after <= 86_400


@pytest.mark.usefixtures("early_in_minute")
def test_runs_of_a_minute_are_counted() -> None:
    for _ in range(3):
        accounts.admit([caller(runs_per_minute=3)], [None])
    with pytest.raises(RateLimited, match="runs_per_minute of this user") as refused:
        accounts.admit([caller(runs_per_minute=3)], [None])
    assert refused.value.retry_after and 1 <= refused.value.retry_after <= 60
    with pytest.raises(RateLimited):
        accounts.admit([caller(runs_per_minute=1)] * 2, [None] * 2)


def test_a_limit_of_zero_refuses_everything() -> None:
    for name in Amounts.__struct_fields__:
        with pytest.raises((RateLimited, BudgetExhausted), match=name):
            accounts.admit([caller(**{name: 0})], [None])


def test_accounts_of_two_callers_are_apart() -> None:
    other = [CallerLimit("key:abc", "this API key", Amounts(tokens_per_day=10), {})]
    accounts.reserve("a", 1, caller(tokens_per_day=10), Use(10, 0), Use())
    assert accounts.reserve("b", 1, other, Use(10, 0), Use()) is None
    both = [*caller(tokens_per_day=20), *other]
    refused = accounts.reserve("c", 1, both, Use(1, 0), Use())
    assert refused and refused.limit == "tokens_per_day of this API key"


def test_callers_whose_ids_have_colons_share_no_account() -> None:
    names = [("a", "b", "c"), ("a", "b:c", ""), ("a:b", "c", ""), ("a%3Ab", "c", "")]
    assert len({account_key("user", *each) for each in names}) == len(names)
    assert account_key("user", "acme", "7") == "user:acme:7"


def test_the_account_of_the_longest_names_fits_its_column() -> None:
    longest = Principal(":" * 128, owner="%" * 128)
    limit = agent_limit(longest, "a" * 64, Amounts(tokens_per_day=10))
    accounts.reserve("a", 1, [limit], Use(10, 0), Use())
    assert Account.objects.get().key == limit.account


def test_conversations_with_runs_that_have_not_ended_count_as_concurrent() -> None:
    """Each of them may have an active run: a pending one is promoted there."""
    organization = Organization.objects.create(org_id="acme")
    first, second, third = (
        Conversation.objects.create(organization=organization) for _ in range(3)
    )
    for conversation, user, status in (
        (first, "7", "running"),
        (first, "7", "pending"),
        (second, "8", "running"),
        (second, "7", "pending"),
        (third, "7", "completed"),
    ):
        Run.objects.create(
            organization=organization,
            conversation=conversation,
            user=user,
            status=status,
            place=1,
        )
    two, three = caller(concurrent_runs=2), caller(concurrent_runs=3)
    accounts.admit([two, two], [first.pk, second.pk])
    accounts.admit([three, three], [third.pk, third.pk])
    for limits, new in ((two, [third.pk]), (two, [None]), (three, [None, third.pk])):
        with pytest.raises(RateLimited, match="concurrent_runs"):
            accounts.admit([limits] * len(new), new)
