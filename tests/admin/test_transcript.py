"""The transcript on the page of a conversation."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from streaming.admin.transcript import MOST_CHARACTERS, transcript
from streaming.messages import (
    OpaquePart,
    SummaryPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    parts_to_json,
)
from streaming.models import Conversation, Message
from tests.admin.conftest import Page, page_url
from tests.admin.history import (
    converse,
    make_conversation,
    make_run,
    say,
)
from tests.cost import calls_of

pytestmark = pytest.mark.django_db


def text(html: str) -> str:
    """Return the visible text of the transcript."""
    section = html.partition('<section class="transcript"')[2].partition(">")[2]
    without_tags = re.sub(r"<[^>]+>", " ", section.partition("</section>")[0])
    return " ".join(unescape(without_tags).split())


def test_an_exchange_is_shown_from_question_to_answer(read: Page) -> None:
    run = make_run()
    converse(run)
    Message.objects.update(created_at=run.created_at)
    at = "2026-05-04 12:00:00"
    assert text(read(page_url(run.conversation))) == (
        f"Run …{run.pk[-8:]} completed claude-sonnet-5-5 1,234 tokens 3.0 s"
        f" user {at} How many apples are left?"
        f" assistant {at} Thinking I should count them."
        ' calculator { "expression": "3 - 1" } Result 2'
        ' current_time { "timezone": "Mars" } Error No such time zone'
        f" assistant {at} Two apples are left."
    )


def test_each_run_of_a_conversation_is_linked_above_its_messages(read: Page) -> None:
    conversation = make_conversation()
    first, second = make_run(conversation), make_run(conversation, model="gpt-6-luna")
    converse(first)
    converse(second)
    html = read(page_url(conversation))
    order = [html.index(part) for part in (page_url(first), page_url(second))]
    assert order == sorted(order)
    assert html.count('<article class="transcript-run">') == 2


def test_thinking_is_folded(read: Page) -> None:
    run = make_run()
    say(run, "assistant", ThinkingPart("Deep thoughts."))
    html = read(page_url(run.conversation))
    folded = html.partition("<details class")[2].partition("</details>")[0]
    assert "Deep thoughts." in folded


@pytest.mark.parametrize(
    ("exchanges", "title"),
    [
        (1, "Summary of the 1 oldest exchange, written by the model"),
        (12, "Summary of the 12 oldest exchanges, written by the model"),
    ],
)
def test_a_summary_is_marked_folded_and_escaped(
    read: Page, exchanges: int, title: str
) -> None:
    run = make_run()
    say(run, "assistant", SummaryPart("<b>Apples</b>", exchanges, 3))
    html = read(page_url(run.conversation))
    folded = html.partition("<details class")[2].partition("</details>")[0]
    assert title in folded
    assert "&lt;b&gt;Apples&lt;/b&gt;" in folded


def test_opaque_parts_are_named_but_not_shown(read: Page) -> None:
    run = make_run()
    say(
        run,
        "assistant",
        ThinkingPart("", "anthropic", {"data": "c2VjcmV0"}),
        OpaquePart("openai", {"type": "compaction", "encrypted": "c2VjcmV0"}),
    )
    read_text = text(read(page_url(run.conversation)))
    assert "Thinking that the provider does not show" in read_text
    assert "A block that only openai understands: compaction" in read_text
    assert "c2VjcmV0" not in read_text


def test_a_failed_run_shows_its_error(read: Page) -> None:
    run = make_run(
        status="failed",
        error_code="provider_timeout",
        error_message="The model provider did not answer in time.",
    )
    say(run, "user", TextPart("Hello?"))
    shown = text(read(page_url(run.conversation)))
    assert shown.endswith("provider_timeout The model provider did not answer in time.")


@pytest.mark.parametrize(
    ("status", "shown"), [("running", "Still running"), ("cancelled", "No result")]
)
def test_a_call_without_result_is_marked(read: Page, status: str, shown: str) -> None:
    run = make_run(status=status)
    say(run, "assistant", ToolCallPart("c", "calculator", "{}"))
    assert text(read(page_url(run.conversation))).endswith(f"calculator {{}} {shown}")


def test_a_result_without_a_call_is_shown_on_its_own(read: Page) -> None:
    run = make_run()
    say(run, "tool", ToolResultPart("c", "calculator", "2"))
    assert "calculator Result without a call 2" in text(
        read(page_url(run.conversation))
    )


def test_arguments_that_are_not_json_are_shown_as_they_are(read: Page) -> None:
    run = make_run()
    deep = "[" * 100_000
    say(run, "assistant", ToolCallPart("a", "calculator", '{"expression": "3 -'))
    say(run, "assistant", ToolCallPart("b", "calculator", deep))
    html = read(page_url(run.conversation))
    assert '{"expression": "3 -' in text(html)
    assert deep[:MOST_CHARACTERS] in html


def test_results_belong_to_the_latest_call_of_their_id() -> None:
    run = make_run()
    for answer in ("first", "second"):
        say(run, "assistant", ToolCallPart("call_0", "calculator", "{}"))
        say(run, "tool", ToolResultPart("call_0", "calculator", answer))
    (section,) = transcript(Message.objects.all())
    blocks = [block for entry in section.entries for block in entry.blocks]
    assert [block.result and block.result.body.text for block in blocks] == [
        "first",
        "second",
    ]


def test_parts_of_an_unknown_form_are_shown_as_they_are_stored(read: Page) -> None:
    run = make_run()
    message = say(run, "assistant")
    message.parts = [{"type": "hologram", "text": "é"}]
    message.save()
    shown = text(read(page_url(run.conversation)))
    assert '"type": "hologram"' in shown
    assert '"text": "é"' in shown


def test_messages_without_a_run_are_shown_too(read: Page) -> None:
    run = make_run()
    say(run, "user", TextPart("Imported"))
    Message.objects.update(run=None)
    assert text(read(page_url(run.conversation))).startswith("Without a run user")


def test_an_empty_conversation_is_marked(read: Page) -> None:
    shown = text(read(page_url(make_conversation(title=""))))
    assert shown == "This conversation has no messages yet."


def test_a_long_text_is_clipped_and_shown_whole_on_request(read: Page) -> None:
    run = make_run()
    message = say(run, "assistant", TextPart("a" * MOST_CHARACTERS + "THE END"))
    say(run, "assistant", TextPart("b" * MOST_CHARACTERS + "ANOTHER END"))
    cut = read(page_url(run.conversation))
    assert "THE END" not in cut
    assert "Show 7 more characters" in cut
    link = unescape(re.findall(r'href="(\?page=1&amp;whole=[^"]+)"', cut)[0])
    assert link == f"?page=1&whole={message.pk}#message-{message.pk}"
    whole = read(page_url(run.conversation), page="1", whole=str(message.pk))
    assert "THE END" in whole
    assert "ANOTHER END" not in whole


@pytest.mark.parametrize("query", ["x", "-1", "9" * 40, "²", ""])
def test_senseless_page_numbers_are_no_error(read: Page, query: str) -> None:
    run = make_run()
    converse(run)
    html = read(page_url(run.conversation), page=query, whole=query)
    assert "Two apples are left." in html


def talk(turns: int) -> Conversation:
    """Make a conversation of some exchanges, four messages each."""
    conversation = make_conversation()
    for _ in range(turns):
        converse(make_run(conversation))
    return conversation


def test_a_long_conversation_is_read_page_by_page_without_losing_a_message(
    read: Page,
) -> None:
    conversation = talk(125)
    first = read(page_url(conversation))
    second = read(page_url(conversation), page="2")
    assert "Page 1 of 2" in first
    assert "Page 2 of 2" in second
    shown = re.findall(r'id="message-(\d+)"', first + second)
    joined = Message.objects.exclude(role="tool").values_list("pk", flat=True)
    assert [int(pk) for pk in shown] == list(joined)
    assert (first + second).count("<h4>Result</h4>") == 125


def test_a_long_exchange_is_shown_in_parts(read: Page) -> None:
    run = make_run()
    say(run, "user", TextPart("Begin."))
    parts = parts_to_json([TextPart("x" * 1000)])
    Message.objects.bulk_create(
        Message(conversation=run.conversation, run=run, role="assistant", parts=parts)
        for _ in range(2500)
    )
    converse(make_run(run.conversation))
    shown: list[str] = []
    query: dict[str, str] = {}
    for _ in range(10):
        html = read(page_url(run.conversation), **query)
        shown += re.findall(r'id="message-(\d+)"', html)
        if not (link := re.search(r"\?page=1&amp;after=(\d+)#transcript", html)):
            break
        query = {"page": "1", "after": link[1]}
    joined = Message.objects.exclude(role="tool").order_by("pk")
    assert [int(pk) for pk in shown] == list(joined.values_list("pk", flat=True))
    assert query


def test_a_long_conversation_takes_few_queries_and_few_calls(
    admin_client: Client,
    django_assert_max_num_queries: Any,  # noqa: ANN401  (pytest-django's own)
) -> None:
    conversation = talk(125)
    url = page_url(conversation)
    with django_assert_max_num_queries(11):
        assert admin_client.get(url).status_code == 200
    per_message = calls_of(lambda: admin_client.get(url)) / 500
    assert per_message < 2_000  # 960, and no more for a longer conversation


def test_the_branches_of_a_conversation_are_all_shown(read: Page) -> None:
    conversation = make_conversation()
    run = make_run(conversation)
    first = say(run, "user", TextPart("first"))
    say(run, "assistant", TextPart("answer"))
    for parent, question in ((0, "again"), (first.pk, "another answer")):
        branch = say(run, "user", TextPart(question))
        Message.objects.filter(pk=branch.pk).update(parent=parent)
    assert "message" not in text(read(page_url(conversation)))[:20]
    Conversation.objects.filter(pk=conversation.pk).update(
        is_branched=True, head=first.pk
    )
    html = read(page_url(conversation))
    shown = text(html)
    assert f"Clients see the branch that ends at message {first.pk}" in shown
    assert "Another branch, from the beginning user" in shown
    assert f"Another branch, after message {first.pk} user" in shown
    for number in range(first.pk, first.pk + 4):
        assert re.search(rf"\d\d message {number} ", shown)
    assert html.count(f'href="#message-{first.pk}"') == 2
