"""Long conversations whose oldest exchanges the model summarizes."""

import re

import pytest

from streaming import runs
from streaming.agent.summary import INSTRUCTIONS
from streaming.models import Account, Limit, Message, Run
from streaming.testing.provider import Reply, Request, StandInProvider
from streaming.wire.sse import KEEP_ALIVE
from tests import chat
from tests.api.test_cancel import until
from tests.api.test_refused import TOO_LONG, error, questions
from tests.client import API, Api
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model", "summarizing")


@pytest.fixture
def summarizing(model: None, agent_settings: ChangeSettings) -> None:
    agent_settings(agent_summarize_history=True, stream_heartbeat_seconds=0.05)


def is_summary(request: Request) -> bool:
    return bool(request.json["messages"][0]["content"] == INSTRUCTIONS)


def numbers(request: Request) -> list[int]:
    """The numbers of the questions that a request has."""
    return [int(n) for n in re.findall(r"Question (\d+)", request.body.decode())]


async def stored(api: Api) -> list[object]:
    """The summaries of the conversation as people read them."""
    conversation = (await api.get(f"{API}/conversations/c")).json
    parts = [part for m in conversation["messages"] for part in m["parts"]]
    return [part for part in parts if part["type"] == "summary"]


async def ask(api: Api, upstream: StandInProvider, *replies: Reply) -> list[Request]:
    """Ask the next question of the conversation; return the requests to the model."""
    upstream.reply(*replies)
    before = len(upstream.requests)
    asked = await Run.objects.acount()
    text = f"Question {asked} " + "long " * 800
    assert (await api.run(text, conversation_id="c")).status == 200
    return upstream.requests[before:]


async def begin(api: Api, upstream: StandInProvider) -> None:
    """Hold a conversation of three exchanges."""
    for number in range(3):
        await ask(api, upstream, chat.answer(f"Answer {number}"))


async def test_a_summary_is_stored_used_again_and_extended(
    api: Api, upstream: StandInProvider
) -> None:
    await begin(api, upstream)
    refused = error(400, TOO_LONG)
    replies = refused, chat.answer("Early ", "days."), chat.answer("Answer 3")
    _, asked, sent = await ask(api, upstream, *replies)
    assert is_summary(asked)
    assert "tools" not in asked.json
    assert numbers(asked) == [0, 1]
    assert numbers(sent) == [2, 3]
    assert questions(sent)[0].startswith("[Summary of the conversation before this, 2")
    assert "\nEarly days.\n" in questions(sent)[0]
    first = {"type": "summary", "text": "Early days.", "exchanges": 2}
    assert await stored(api) == [first]

    [sent] = await ask(api, upstream, chat.answer("Answer 4"))
    assert numbers(sent) == [2, 3, 4]
    assert "\nEarly days.\n" in questions(sent)[0]

    replies = refused, chat.answer("Later days."), chat.answer("Answer 5")
    _, asked, sent = await ask(api, upstream, *replies)
    assert is_summary(asked)
    assert "<summary>\nEarly days.\n</summary>" in questions(asked)[0]
    assert numbers(asked) == [2, 3]
    assert numbers(sent) == [4, 5]
    assert "\nLater days.\n" in questions(sent)[0]
    second = {"type": "summary", "text": "Later days.", "exchanges": 4}
    assert await stored(api) == [first, second]

    assert (await api.delete(f"{API}/conversations/c")).status == 204
    assert not await Message.objects.aexists()


async def test_a_summary_counts_in_its_run_and_is_no_content(
    api: Api, upstream: StandInProvider
) -> None:
    await begin(api, upstream)
    upstream.reply(error(400, TOO_LONG), chat.answer("Early."), chat.answer("Answer"))
    response = await api.stream("And " * 800, conversation_id="c")
    assert response.text == "Answer"
    assert "Early." not in response.body.decode()
    metadata = next(f for f in response.frames if f.event == "complete").data[
        "metadata"
    ]
    assert metadata["dropped_exchanges"] == 2
    assert metadata["execution_summary"]["llm_calls"] == 2
    assert metadata["usage"]["total_tokens"] == 30


async def test_a_cancelled_summary_is_charged_with_its_own_reservation_only(
    api: Api, upstream: StandInProvider
) -> None:
    """The request for which it is made was not sent."""
    await Limit.objects.acreate(kind="organization", tokens_per_day=1_000_000)
    await begin(api, upstream)
    upstream.reply(error(400, TOO_LONG), Reply(chat.pieces(""), end="hang"))
    body = {"input": "And " * 800, "conversation_id": "c"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("connected")
        await until(lambda: len(upstream.requests) == 5)
        before = await Account.objects.aget()
        run_id = stream.response.headers["x-run-id"]
        await api.post(f"{API}/runs/{run_id}/cancel")
        await stream.end()
    after = await Account.objects.aget()
    assert after.tokens == before.tokens + before.reserved_tokens
    assert after.reserved_tokens == 0


async def test_a_known_window_asks_for_the_summary_before_any_refusal(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(llm_context_window=2_700, llm_max_tokens=500)
    for counted in (850, 1_650):
        ending = chat.ending(asked=counted)
        await ask(api, upstream, Reply(chat.pieces("Fine.") + ending))
    asked, sent = await ask(api, upstream, chat.answer("Early."), chat.answer("Fine."))
    assert is_summary(asked)
    assert numbers(asked) == [0, 1]
    assert numbers(sent) == [2]
    assert "\nEarly.\n" in questions(sent)[0]


async def test_a_summary_between_tool_calls_is_stored_where_it_was_made(
    api: Api, upstream: StandInProvider
) -> None:
    await begin(api, upstream)
    _, _, asked, last = await ask(
        api,
        upstream,
        chat.tool_calls(("c", "calculator", {"expression": "2+2"})),
        error(400, TOO_LONG),
        chat.answer("Early."),
        chat.answer("4"),
    )
    assert is_summary(asked)
    roles = [message["role"] for message in last.json["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "tool"]
    conversation = (await api.get(f"{API}/conversations/c")).json
    parts = [m["parts"][0]["type"] for m in conversation["messages"][-5:]]
    assert parts == ["text", "tool_call", "tool_result", "summary", "text"]
    [sent] = await ask(api, upstream, chat.answer("Answer 4"))
    assert numbers(sent) == [2, 3, 4]
    assert "\nEarly.\n" in questions(sent)[0]


async def test_a_failed_summary_is_not_tried_again_in_its_run(
    api: Api, upstream: StandInProvider
) -> None:
    await begin(api, upstream)
    requests = await ask(
        api,
        upstream,
        error(400, TOO_LONG),
        error(401, {}),
        chat.tool_calls(("c", "calculator", {"expression": "2+2"})),
        error(400, TOO_LONG),
        chat.answer("4"),
    )
    assert [is_summary(each) for each in requests] == [False, True, *[False] * 3]
    assert numbers(requests[-1]) == [2, 3]
    assert await stored(api) == []
    await ask(api, upstream, chat.answer("Answer 4"))
    replies = error(400, TOO_LONG), chat.answer("Early."), chat.answer("Answer 5")
    _, asked, _ = await ask(api, upstream, *replies)
    assert is_summary(asked)  # the next run tries again


async def test_a_cancel_during_a_summary_reaches_the_provider(
    api: Api, upstream: StandInProvider
) -> None:
    await begin(api, upstream)
    upstream.reply(error(400, TOO_LONG), Reply(chat.pieces("Ear"), end="hang"))
    body = {"input": "And?", "conversation_id": "c"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("connected")
        await until(lambda: len(upstream.requests) == 5)
        await until(lambda: KEEP_ALIVE in stream.response.body)
        run_id = stream.response.headers["x-run-id"]
        assert (await api.post(f"{API}/runs/{run_id}/cancel")).status == 202
        whole = await stream.end()
    assert whole.events == ["connected", "complete", "done"]
    await upstream.gone.wait()
    run = await Run.objects.aget(pk=run_id)
    assert (run.status, run.llm_calls) == ("cancelled", 2)
    assert run.input_tokens
    assert await stored(api) == []


async def test_a_conversation_with_a_summary_is_sent_whole_without_the_setting(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    await begin(api, upstream)
    replies = error(400, TOO_LONG), chat.answer("Early."), chat.answer("Answer 3")
    await ask(api, upstream, *replies)
    await runs.aclose()
    agent_settings(agent_summarize_history=False)
    [sent] = await ask(api, upstream, chat.answer("Answer 4"))
    assert numbers(sent) == [0, 1, 2, 3, 4]
    assert "Early." not in sent.body.decode()
