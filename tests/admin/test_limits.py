"""Limits are edited in the admin, their use is shown there."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from streaming.budgets import accounts
from streaming.budgets.accounts import Use
from streaming.budgets.limits import Amounts, CallerLimit
from streaming.models import Account, Limit, Organization
from tests.admin.conftest import Page, list_url, page_url
from tests.admin.history import make_conversation, make_run

pytestmark = pytest.mark.django_db

ADD = "admin:streaming_limit_add"


def test_a_limit_is_added_and_listed(admin_client: Client, read: Page) -> None:
    acme = Organization.objects.create(org_id="acme")
    form = {"kind": "user", "organization": acme.pk, "cost_per_day": "2.50"}
    assert admin_client.post(reverse(ADD), form).status_code == 302
    limit = Limit.objects.get()
    assert (limit.organization, limit.cost_per_day) == (acme, Decimal("2.5"))
    listed = read(list_url(Limit))
    assert "each one" in listed
    assert "acme" in listed
    assert "2.5" in read(page_url(limit))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"kind": "user"}, "Set at least one limit."),
        (
            {"kind": "organization", "name": "7", "runs_per_minute": 1},
            "A limit of an organization names no user or key.",
        ),
        ({"kind": "user", "runs_per_minute": -1}, "greater than or equal to 0"),
        ({"kind": "user", "cost_per_day": "-0.5"}, "greater than or equal to 0"),
        ({"kind": "user", "cost_per_day": "NaN"}, "Enter a number."),
        ({"kind": "planet", "runs_per_minute": 1}, "not one of the available choices"),
        (
            {"kind": "key", "name": "abc", "runs_per_minute": 2},
            "This caller has a limit already.",
        ),
    ],
)
def test_an_invalid_limit_is_refused(
    admin_client: Client, form: dict[str, object], message: str
) -> None:
    Limit.objects.create(kind="key", name="abc", runs_per_minute=1)
    response = admin_client.post(reverse(ADD), form)
    assert message in response.content.decode()
    assert Limit.objects.count() == 1


def test_the_use_is_shown_and_not_changed(admin_client: Client, read: Page) -> None:
    limits = [CallerLimit("user:acme:7", "", Amounts(cost_per_day=10**10), {})]
    accounts.reserve("run", 1, limits, Use(2000, 1_500_000_000), Use())
    account = Account.objects.get()
    listed = read(list_url(Account))
    assert "user:acme:7" in listed
    assert "$1.5000" in listed
    assert "2,000" in read(page_url(account))
    assert 'type="submit"' not in read(page_url(account)).partition('id="content"')[2]
    url = reverse("admin:streaming_account_delete", args=[account.pk])
    assert admin_client.post(url, {"post": "yes"}).status_code == 403


def test_a_run_shows_its_cost(read: Page) -> None:
    run = make_run(make_conversation())
    run.cost = Decimal("0.01234567")
    run.save()
    assert "$0.0123" in read(page_url(run))
    assert "$0.0123" in read(list_url(type(run)))
