"""The login of the admin: failures are limited, and lock no other user out."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import F
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from agentsite import login_throttle
from agentsite.login_throttle import (
    MAX_PER_ADDRESS,
    MAX_PER_NAME,
    MAX_PER_NAME_AND_ADDRESS,
    WINDOW,
    TooManyAttempts,
)
from agentsite.models import LoginAttempt

pytestmark = pytest.mark.django_db

HOME, ATTACKER = "192.0.2.1", "198.51.100.1"
PASSWORD = "the right password"


@pytest.fixture(autouse=True)
def root(db: None) -> User:
    """A user with a password."""
    return User.objects.create_superuser("root", password=PASSWORD)


def login(
    password: str = "wrong", name: str = "root", address: str = HOME
) -> HttpResponse:
    form = {"username": name, "password": password, "next": "/admin/"}
    response = Client(REMOTE_ADDR=address).post(reverse("admin:login"), form)
    assert isinstance(response, HttpResponse)
    return response


def fail(times: int, name: str = "root", address: str = HOME) -> None:
    for _ in range(times):
        assert login(name=name, address=address).status_code == 200


def test_the_right_password_logs_in() -> None:
    response = login(PASSWORD)
    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert not LoginAttempt.objects.exists()


@pytest.mark.parametrize("name", ["root", "unknown"])
def test_failures_of_a_name_at_an_address_are_limited(name: str) -> None:
    fail(MAX_PER_NAME_AND_ADDRESS, name)
    refused = login(PASSWORD, name)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= WINDOW.total_seconds()
    assert "Too many failed logins. Try again in 5 minutes." in refused.text
    assert login(PASSWORD, address=ATTACKER).status_code == 302


def test_a_refused_login_does_not_count() -> None:
    fail(MAX_PER_NAME_AND_ADDRESS)
    before = [*LoginAttempt.objects.values_list("pk", flat=True)]
    for _ in range(10):
        assert login().status_code == 429
    assert [*LoginAttempt.objects.values_list("pk", flat=True)] == before
    LoginAttempt.objects.update(at=F("at") - WINDOW)
    assert login(PASSWORD).status_code == 302


def test_the_time_to_wait_is_that_of_the_oldest_failure() -> None:
    fail(1)
    LoginAttempt.objects.update(at=F("at") - timedelta(minutes=4))
    fail(MAX_PER_NAME_AND_ADDRESS - 1)
    assert 0 < int(login()["Retry-After"]) <= 60
    LoginAttempt.objects.update(at=F("at") - timedelta(minutes=1))
    fail(1)
    assert int(login()["Retry-After"]) > 60


def test_failures_of_an_address_are_limited_for_all_names() -> None:
    for number in range(MAX_PER_ADDRESS):
        fail(1, name=f"user-{number}")
    assert login(PASSWORD).status_code == 429
    assert login(PASSWORD, address=ATTACKER).status_code == 302


def attack() -> None:
    """Fail from so many addresses that the user name is under attack."""
    for number in range(MAX_PER_NAME):
        fail(1, address=f"198.51.100.{number}")


def test_under_attack_each_address_has_one_attempt() -> None:
    attack()
    fail(1, address="203.0.113.1")
    assert login(PASSWORD, address="203.0.113.1").status_code == 429


def test_under_attack_the_right_password_logs_in_from_any_other_address() -> None:
    attack()
    for number in range(1, 10):
        assert login(PASSWORD, address=f"203.0.113.{number}").status_code == 302


def test_a_login_forgets_the_failures_before_it() -> None:
    fail(MAX_PER_NAME_AND_ADDRESS - 1)
    fail(1, name="other")
    assert login(PASSWORD).status_code == 302
    assert LoginAttempt.objects.count() == 1  # that of the other name
    fail(MAX_PER_NAME_AND_ADDRESS)


def test_a_user_who_is_not_staff_is_refused_as_a_wrong_password_is() -> None:
    User.objects.create(username="customer", password=make_password("c"))
    notes = set()
    for password in ("c", "wrong"):
        response = login(password, "customer")
        assert response.status_code == 200
        notes.update(re.findall(r'class="errornote">([^<]+)', response.text))
    assert len(notes) == 1
    assert "correct username and password" in notes.pop()
    assert LoginAttempt.objects.count() == 2


def test_an_empty_password_is_a_failure_and_forgets_none() -> None:
    fail(MAX_PER_NAME_AND_ADDRESS - 1)
    assert login("").status_code == 200
    assert login(PASSWORD).status_code == 429


def test_a_user_who_is_logged_in_cannot_try_passwords_of_others() -> None:
    User.objects.create(username="mallory", password=make_password("m"), is_staff=True)
    client = Client(REMOTE_ADDR=HOME)
    url = reverse("admin:login")
    client.post(url, {"username": "mallory", "password": "m"})
    form = {"username": "root", "password": "wrong"}
    statuses = [
        client.post(url, form).status_code for _ in range(MAX_PER_NAME_AND_ADDRESS + 1)
    ]
    assert statuses == [*[200] * MAX_PER_NAME_AND_ADDRESS, 429]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, is_same: bool) -> None:
    attempts = [login_throttle.begin("root", address) for address in (one, other)]
    assert (attempts[0].address == attempts[1].address) is is_same


@pytest.mark.parametrize("name", ["Root", "ROOT", "ｒｏｏｔ"])
def test_spellings_of_a_name_are_one(name: str) -> None:
    fail(MAX_PER_NAME_AND_ADDRESS)
    assert login(name=name).status_code == 429


def test_what_was_typed_is_neither_stored_nor_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    fail(MAX_PER_NAME_AND_ADDRESS, name="my password")
    assert login(name="my password").status_code == 429
    stored = str([*LoginAttempt.objects.values()])
    logged = str([vars(record) for record in caplog.records])
    assert "my password" not in stored + caplog.text
    assert HOME not in stored
    assert [r.getMessage() for r in caplog.records if r.name == "agentsite.login"] == [
        *["login failed"] * MAX_PER_NAME_AND_ADDRESS,
        "login refused",
    ]
    assert HOME in logged


@pytest.mark.django_db(transaction=True)
def test_attempts_at_the_same_time_are_counted() -> None:
    def attempt(_: int) -> bool:
        try:
            login_throttle.begin("root", HOME)
        except TooManyAttempts:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as pool:
        allowed = sum(pool.map(attempt, range(40)))
    assert allowed <= MAX_PER_NAME_AND_ADDRESS
    assert LoginAttempt.objects.count() == allowed
