"""The lists: counts, searches, filters and their number of queries."""

import re
from html import unescape
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from streaming.models import Conversation, Organization, Run
from tests.admin.conftest import LISTS, Page, list_url, page_url
from tests.admin.history import (
    after,
    converse,
    make_conversation,
    make_run,
)

pytestmark = pytest.mark.django_db


def rows(html: str) -> list[str]:
    """Return the visible text of each row of a list."""
    body = html.partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        " ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split())
        for row in body.split("</tr>")[:-1]
    ]


def fill(organizations: int, conversations: int, runs: int) -> None:
    """Make some runs with their messages."""
    for organization in range(organizations):
        for _ in range(conversations):
            conversation = make_conversation(f"org-{organization}")
            for _ in range(runs):
                converse(make_run(conversation))


def test_organizations_are_counted_without_multiplying(read: Page) -> None:
    fill(organizations=1, conversations=3, runs=2)
    Organization.objects.create(org_id="silent")
    first, second = rows(read(list_url(Organization)))
    assert first.startswith("org-0 3 6 7,404 ")
    assert second.startswith("silent 0 0 0 – ")


def test_conversations_are_counted_without_multiplying(read: Page) -> None:
    fill(organizations=1, conversations=1, runs=3)
    make_conversation("silent", title="")
    counted = rows(read(list_url(Conversation), o="1"))
    assert " silent 0 0 0 " in counted[0]
    assert re.match(r"Apples conv_\w+ org-0 12 3 3,702 ", counted[1])


def test_a_run_is_summarized_in_one_row(read: Page) -> None:
    run = make_run(make_conversation(title="About apples"))
    (row,) = rows(read(list_url(Run)))
    assert row == (
        f"…{run.pk[-8:]} 2026-05-04 12:00:00 completed How many apples are left?"
        " acme › About apples claude-sonnet-5-5 anthropic 1,234 – 3.0 s 400 ms"
        " Agent – –"
    )


def test_an_active_run_shows_its_duration_so_far(read: Page) -> None:
    make_run(status="running", created_at=timezone.now(), first_token_at=None)
    (row,) = rows(read(list_url(Run)))
    assert " running " in row
    assert re.search(r" \S+ m?s so far – Agent – –$", row)


def test_a_requested_cancel_is_shown(read: Page) -> None:
    make_run(status="running", cancel_requested_at=after(500))
    assert " cancelling " in rows(read(list_url(Run)))[0]


@pytest.mark.parametrize("model", LISTS)
def test_the_number_of_queries_does_not_grow_with_the_rows(
    admin_client: Client,
    django_assert_max_num_queries: Any,  # noqa: ANN401  (pytest-django's own)
    model: type[Model],
) -> None:
    fill(organizations=10, conversations=4, runs=1)
    with django_assert_max_num_queries(12):
        assert admin_client.get(list_url(model)).status_code == 200


@pytest.mark.parametrize("model", LISTS)
def test_each_column_can_be_sorted_by(read: Page, model: type[Model]) -> None:
    fill(organizations=2, conversations=2, runs=1)
    make_run(make_conversation("late"), status="running", first_token_at=None)
    shown = len(rows(read(list_url(model))))
    for column in range(1, 10):
        for sign in ("", "-"):
            assert len(rows(read(list_url(model), o=f"{sign}{column}"))) == shown


def test_runs_show_and_are_filtered_by_their_agent_and_user(read: Page) -> None:
    make_run(agent="support", user="17", owner="17")
    make_run()
    both = read(list_url(Run))
    assert [row.split()[-3:-1] for row in rows(both)] == [
        ["Agent", "–"],
        ["support", "17"],
    ]
    assert "?agent=support" in both
    (row,) = rows(read(list_url(Run), agent="support"))
    assert row.endswith(" support 17 –")


def test_a_conversation_shows_its_owner(read: Page) -> None:
    conversation = make_conversation()
    Conversation.objects.filter(pk=conversation.pk).update(owner="17")
    (row,) = rows(read(list_url(Conversation)))
    assert row.endswith(" 17")
    assert "17" in read(page_url(conversation))


def test_runs_are_sorted_by_duration(read: Page) -> None:
    slow, quick = make_run(ended_at=after(9000)), make_run(ended_at=after(1000))
    listed = rows(read(list_url(Run), o="6"))
    assert [row[1:9] for row in listed] == [quick.pk[-8:], slow.pk[-8:]]


@pytest.mark.parametrize("model", LISTS)
def test_an_empty_list_says_so(read: Page, model: type[Model]) -> None:
    plural = model._meta.verbose_name_plural
    assert f"No {plural} yet" in read(list_url(model))
    assert f"No {plural} match" in read(list_url(model), q="nothing")


def found(html: str) -> set[str]:
    """Return the titles of the conversations in a list."""
    return {title for title in ("Pears", "Plums") if title in html}


@pytest.mark.parametrize(
    "query",
    [
        "pears",
        "conv-of-pears",
        "umbrella",
        "ripe",
        "RIPE fruit",
        '"very ripe"',
        "crème",
        "creme BRULEE",
        "said \\",
        "umbrella ripe",
        "o/",
    ],
)
def test_a_conversation_is_found_by_its_text(read: Page, query: str) -> None:
    question = "A very ripe fruit? Crème brûlée, he said \\o/"
    pears = make_conversation("umbrella", "Pears", question)
    Conversation.objects.filter(pk=pears.pk).update(conversation_id="conv-of-pears")
    converse(make_run(make_conversation("acme", "Plums")))
    assert found(read(list_url(Conversation), q=query)) == {"Pears"}


@pytest.mark.parametrize(
    "query", ["tool_call", '"type"', "umbrella plums", "%", "*", "x" * 9000]
)
def test_the_form_in_which_messages_are_stored_is_not_searched(
    read: Page, query: str
) -> None:
    converse(make_run(make_conversation("acme", "Plums")))
    assert found(read(list_url(Conversation), q=query)) == set()


@pytest.mark.parametrize("by", ["id", "end", "org", "conversation", "question"])
def test_a_run_is_found_by_its_ids_and_its_conversation(read: Page, by: str) -> None:
    run = make_run(make_conversation("umbrella", question="Why is the sky blue?"))
    make_run(make_conversation("acme"))
    query = {
        "id": run.pk,
        "end": run.pk[-8:],
        "org": "umbrella",
        "conversation": run.conversation.conversation_id,
        "question": "SKY blue",
    }[by]
    (row,) = rows(read(list_url(Run), q=query))
    assert run.pk[-8:] in row


@pytest.mark.parametrize(
    "query",
    [
        {"status__exact": "failed"},
        {"provider": "openai"},
        {"model": "gpt-6-luna"},
        {"stop_reason": "max_tokens"},
        {"error_code": "provider_timeout"},
        {"background__exact": "1"},
        {"created_at__gte": "2026-06-01 00:00:00+00:00"},
    ],
)
def test_runs_are_filtered(read: Page, query: dict[str, str]) -> None:
    make_run()
    run = make_run(
        status="failed",
        provider="openai",
        model="gpt-6-luna",
        stop_reason="max_tokens",
        error_code="provider_timeout",
        background=True,
        created_at=after(90 * 24 * 3600 * 1000),
    )
    (row,) = rows(read(list_url(Run), **query))
    assert run.pk[-8:] in row


def test_a_filter_offers_the_values_that_occur_and_no_empty_one(read: Page) -> None:
    make_run(error_code="")
    html = read(list_url(Run))
    assert "?provider=anthropic" in html
    assert "?stop_reason=end_turn" in html
    assert "error_code" not in html


def test_the_filter_by_organization_stays_short(read: Page) -> None:
    for number in range(40):
        make_conversation(f"org-{number:02}")
    last = Organization.objects.get(org_id="org-39")
    offered = "organization__id__exact="
    assert read(list_url(Conversation)).count(offered) == 20
    html = read(list_url(Conversation), organization__id__exact=str(last.pk))
    assert len(rows(html)) == 1
    assert f"?{offered}{last.pk}" in html


@pytest.mark.parametrize("value", ["x", "1 OR 1", "99999999999999999999999", ""])
def test_a_senseless_filter_is_no_error(admin_client: Client, value: str) -> None:
    query = {"organization__id__exact": value}
    response = admin_client.get(list_url(Run), query, follow=True)
    assert response.status_code == 200


def test_organization_conversation_and_run_lead_to_each_other(read: Page) -> None:
    run = make_run()
    organization, conversation = run.organization, run.conversation
    of_organization = f"?organization__id__exact={organization.pk}"
    for html in (read(list_url(Organization)), read(page_url(organization))):
        assert f"{list_url(Conversation)}{of_organization}" in html
        assert f"{list_url(Run)}{of_organization}" in html
    for html in (read(list_url(Conversation)), read(page_url(conversation))):
        assert page_url(organization) in html
        assert f"{list_url(Run)}?conversation__id__exact={conversation.pk}" in html
    for html in (read(list_url(Run)), read(page_url(run))):
        assert page_url(organization) in html
        assert page_url(conversation) in html


def test_the_links_of_the_counts_filter_their_lists(read: Page) -> None:
    run = make_run(make_conversation("umbrella"))
    make_run(make_conversation("acme"))
    for field in ("organization", "conversation"):
        key = str(getattr(run, f"{field}_id"))
        (row,) = rows(read(list_url(Run), **{f"{field}__id__exact": key}))
        assert run.pk[-8:] in row
