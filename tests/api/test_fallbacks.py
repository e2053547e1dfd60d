"""Runs that another model answers than the one that they were started with."""

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from streaming import conf
from streaming.models import Message, Run
from streaming.providers import make_provider
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.api.agents import install
from tests.client import API, Api
from tests.conftest import ChangeSettings
from tests.providers.test_fallback import openai_options

pytestmark = pytest.mark.usefixtures("model")

OVERLOADED = Reply(b"{}", 503, "application/json")


@pytest.fixture
async def second(api: Api) -> AsyncIterator[StandInProvider]:
    """The server of the second model; the first one's is `upstream`."""
    async with StandInProvider() as server:
        install(provider=make_provider(conf.provider(), [openai_options(server)]))
        yield server


async def test_the_first_model_is_named_while_it_answers(
    api: Api, upstream: StandInProvider, second: StandInProvider
) -> None:
    upstream.reply(chat.answer("From the first"))
    response = await api.stream("Hi")
    assert response.text == "From the first"
    metadata = response.frames[-2].data["metadata"]
    assert (metadata["provider"], metadata["model"]) == ("openai", "test-model")


async def test_a_run_without_fallbacks_names_no_model(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hi"))
    response = await api.stream("Hi")
    assert not {"provider", "model", "output"} & (
        response.frames[-2].data["metadata"].keys()
    )


async def test_the_answering_model_is_named_everywhere(
    api: Api, upstream: StandInProvider, second: StandInProvider
) -> None:
    upstream.reply(OVERLOADED)
    second.reply(chat.answer("From ", "the second"))
    response = await api.stream("Hi", conversation_id="c")
    connected, *_, complete, _ = response.frames
    assert response.text == "From the second"
    assert connected.data["metadata"]["model"] == "test-model"
    assert complete.data["metadata"]["model"] == "second"
    run = await Run.objects.aget()
    assert (run.provider, run.model) == ("openai", "second")
    state = (await api.get(f"{API}/runs/{run.id}")).json
    assert (state["provider"], state["model"]) == ("openai", "second")
    usage = complete.data["metadata"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (10, 5)


async def test_the_iterations_of_a_run_stay_with_one_model(
    api: Api, upstream: StandInProvider, second: StandInProvider
) -> None:
    upstream.reply(OVERLOADED, chat.answer("From the first"))
    second.reply(
        chat.tool_calls(("c", "calculator", {"expression": "2+2"})),
        chat.answer("4"),
        chat.answer("From the second"),
    )
    assert (await api.run("2+2?", conversation_id="c")).json["output"] == "4"
    assert (len(upstream.requests), len(second.requests)) == (1, 2)
    # The first model has failed a moment ago: the next run does not wait for it.
    answer = (await api.run("Again?", conversation_id="c")).json["output"]
    assert answer == "From the second"
    assert len(upstream.requests) == 1


async def test_a_run_fails_once_output_was_sent(
    api: Api, upstream: StandInProvider, second: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hel"), end="cut"))
    response = await api.stream("Hi")
    assert response.events == ["connected", "content", "error", "done"]
    assert second.requests == []
    run = await Run.objects.aget()
    assert (run.error_code, run.model) == ("provider_incomplete", "test-model")
    message = await Message.objects.filter(role="assistant").aget()
    assert message.parts == [{"type": "text", "text": "Hel"}]


async def test_a_run_fails_if_all_models_do(
    api: Api, upstream: StandInProvider, second: StandInProvider
) -> None:
    upstream.reply(OVERLOADED)
    second.reply(Reply(b"{}", 401, "application/json"))
    response = await api.run("Hi")
    assert (response.status, response.json["code"]) == (502, "provider_error")
    run = await Run.objects.aget()
    assert (run.provider, run.model) == ("openai", "test-model")


async def test_the_usage_and_cost_of_each_model_count(
    api: Api,
    agent_settings: ChangeSettings,
    upstream: StandInProvider,
) -> None:
    agent_settings(model_prices=["test-model=1000/1000", "second=1/1"])
    failed = Reply(
        b'data: {"choices": [], "usage": {"prompt_tokens": 700}}\n\n'
        b'data: {"error": {"code": 503, "message": "overloaded"}}\n\n'
    )
    async with StandInProvider() as second:
        install(provider=make_provider(conf.provider(), [openai_options(second)]))
        upstream.reply(failed)
        second.reply(chat.answer("Hi"))
        response = await api.stream("Hi")
    metadata = response.frames[-2].data["metadata"]
    assert metadata["usage"]["input_tokens"] == 710
    assert metadata["usage"]["output_tokens"] == 5
    # 700 tokens at 0.001 dollars each, and 15 at a thousandth of that.
    assert float(metadata["cost"]["amount"]) == pytest.approx(0.700015)


async def test_the_admin_shows_the_answering_model(
    api: Api,
    upstream: StandInProvider,
    second: StandInProvider,
    admin_client: Client,
) -> None:
    upstream.reply(OVERLOADED)
    second.reply(chat.answer("Hi"))
    await api.run("Hi")
    run = await Run.objects.aget()
    page = await sync_to_async(admin_client.get)(
        f"/admin/streaming/run/{run.pk}/change/"
    )
    html = page.content.decode()
    assert "answered by second" in html
