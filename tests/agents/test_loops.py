"""The loops of agents: providers, contexts, instructions, and agents that are gone."""

import asyncio
import json

import pytest
from django.contrib.auth.models import User

from streaming import Agent, Context, conf, runs
from streaming.agents import registry
from streaming.agents.loops import AgentLoops, make_loops
from streaming.agents.registry import Registry
from streaming.agents.users import StoredUser
from streaming.models import Run
from streaming.principals import Principal
from streaming.runs import RunRequest, RunService
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp
from tests.client import API, Api, all_runs_end
from tests.conftest import ChangeSettings
from tests.providers import anthropic_streams

TWO_PROVIDERS = """
    from streaming import Agent

    first = Agent("first", model="anthropic:claude-sonnet-5-5", permission="anyone")
    second = Agent("second", model="openai:gpt-6-luna", permission="anyone")
    third = Agent("third", model="openai:gpt-6-luna", permission="anyone")
"""


@pytest.mark.usefixtures("model")
async def test_agents_of_several_providers_and_keys_share_one_process(
    api: Api,
    upstream: StandInProvider,
    install: InstallApp,
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(
        anthropic_api_key="sk-ant-test", anthropic_base_url=f"{upstream.url}/anthropic"
    )
    install(agents=TWO_PROVIDERS)
    upstream.reply(
        Reply(
            anthropic_streams.message(anthropic_streams.text_block(0, "From Claude"))
        ),
        chat.answer("From Luna"),
        chat.answer("From Luna"),
    )
    for name, text in (
        ("first", "From Claude"),
        ("second", "From Luna"),
        ("third", "From Luna"),
    ):
        response = await api.post(f"{API}/run", {"input": "Hi", "agent": name})
        assert (response.json["output"], response.json["agent"]) == (text, name)
    claude, luna, _ = upstream.requests
    assert claude.path.startswith("/anthropic/v1/messages")
    assert "sk-ant-test" in (
        claude.headers.get("authorization", "") + claude.headers.get("x-api-key", "")
    )
    assert (luna.path, luna.headers["authorization"]) == (
        "/chat/completions",
        "Bearer sk-test",
    )
    stored = Run.objects.order_by("created_at").values_list("provider", "model")
    assert [row async for row in stored] == [
        ("anthropic", "claude-sonnet-5-5"),
        ("openai", "gpt-6-luna"),
        ("openai", "gpt-6-luna"),
    ]


async def test_agents_with_equal_options_share_one_provider() -> None:
    loops = make_loops(
        Registry([Agent("a", model="demo:x"), Agent("b", model="demo:x"), Agent("c")])
    )
    providers = [loops.find(key).loop.provider for key in ("a", "b", "c", "")]
    assert providers[0] is providers[1]
    assert providers[2] is providers[3] is not providers[0]
    await loops.aclose()


USER = """
    from streaming import Agent, Context

    support = Agent(
        "support",
        instructions="You help customers.",
        deps=lambda context: {"shop": context.organization},
        permission="anyone",
    )

    @support.instructions
    def customer(context: Context) -> str:
        return f"The customer is {context.user and context.user.username}."

    @support.instructions
    async def conversation(context: Context) -> str:
        return f"{context.user and context.user.pk}, {context.conversation}."

    @support.tool
    def look(context: Context) -> list[object]:
        "Look around."
        return [
            context.user and context.user.username,
            context.organization,
            context.conversation,
            context.deps,
            dict(context.client_context),
            context.principal.scopes == {"run"},
        ]

    @support.tool
    async def look_async(context: Context) -> str:
        "Look around."
        return f"{context.user and context.user.username}"
"""


@pytest.mark.usefixtures("model", "callers")
@pytest.mark.parametrize("name", ["alice", ""])
async def test_functions_receive_the_user_and_the_values_of_the_run(
    api: Api, upstream: StandInProvider, install: InstallApp, name: str
) -> None:
    install(agents=USER)
    user = await User.objects.acreate_user(name) if name else None
    upstream.reply(
        chat.tool_calls(("1", "look", {}), ("2", "look_async", {})), chat.answer("Done")
    )
    body = {"input": "Hi", "conversation_id": "c", "context": {"page": "/cart"}}
    response = await api.post(
        f"{API}/stream", body, x_user=str(user.pk) if user else ""
    )
    shown = name or None
    results = {
        frame.data["tool_call"]["name"]: frame.data["tool_call"]["result"]
        for frame in response.frames
        if frame.event == "tool_result"
    }
    looked = [shown, "default", "c", {"shop": "default"}, {"page": "/cart"}, True]
    assert json.loads(results["look"]) == looked
    assert results["look_async"] == str(shown)
    prompt = upstream.requests[0].json["messages"][0]["content"]
    assert prompt == (
        f"You help customers.\n\nThe customer is {shown}.\n\n{user and user.pk}, c."
    )


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("function", "code", "logged"),
    [
        ("def fail(): 1 / 0", "internal_error", "ZeroDivisionError"),
        (
            "async def fail(): await __import__('asyncio').sleep(60)",
            "internal_error",
            "agent support not prepared in 0.05 s",
        ),
        (
            "def fail(): __import__('time').sleep(1)",
            "internal_error",
            "agent support not prepared in 0.05 s",
        ),
    ],
)
async def test_instructions_that_fail_end_the_run_with_an_error(
    api: Api,
    install: InstallApp,
    agent_settings: ChangeSettings,
    caplog: pytest.LogCaptureFixture,
    function: str,
    code: str,
    logged: str,
) -> None:
    # A function that ends by itself has time for it, also on a busy machine.
    seconds = 0.05 if "sleep" in function else 20
    agent_settings(agent_tool_timeout_seconds=seconds)
    declared = "from streaming import Agent\nsupport = Agent('support', permission="
    install(agents=f"{declared}'anyone')\n@support.instructions\n{function}")
    response = await api.post(f"{API}/run", {"input": "Hi"})
    assert (response.status, response.json["code"]) == (500, code)
    assert logged in caplog.text


@pytest.mark.usefixtures("model")
async def test_a_run_that_another_process_executes_needs_nothing_of_its_request(
    api: Api,
    upstream: StandInProvider,
    install: InstallApp,
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(run_executor="tests.runs.queue_executor.QueueExecutor")
    install(agents=USER)
    user = await User.objects.acreate_user("alice")
    service = runs.get_service()
    vars(service.executor)["paused"] = True
    principal = Principal("acme", str(user.pk), credential=f"user:{user.pk}")
    run = await service.start(
        RunRequest(input="Hi", principal=principal, agent="support")
    )
    await service.aclose()
    upstream.reply(chat.tool_calls(("1", "look", {})), chat.answer("Done"))
    other = RunService(make_loops(), conf.get(), database.default, name="other")
    await all_runs_end()
    await other.aclose()
    result = upstream.requests[1].json["messages"][-1]["content"]
    assert json.loads(result)[:2] == ["alice", "acme"]
    ended = await Run.objects.aget(pk=run.pk)
    assert (ended.status, ended.worker) == ("completed", "other")


@pytest.mark.usefixtures("model")
async def test_a_run_whose_agent_no_longer_exists_fails_with_its_name(
    api: Api,
    install: InstallApp,
    agent_settings: ChangeSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent_settings(run_executor="tests.runs.queue_executor.QueueExecutor")
    install(agents=USER)
    service = runs.get_service()
    vars(service.executor)["paused"] = True
    run = await service.start(
        RunRequest(input="Hi", principal=Principal("default"), agent="support")
    )
    await service.aclose()
    other = RunService(AgentLoops({}), conf.get(), database.default, name="other")
    await all_runs_end()
    await other.aclose()
    ended = await Run.objects.aget(pk=run.pk)
    assert (ended.status, ended.error_code) == ("failed", "agent_removed")
    sentence = "The agent 'support' of this run no longer exists on this server."
    assert ended.error_message == sentence
    assert "run failed: no agent 'support'" in caplog.text


def test_the_display_name_of_a_run_is_that_of_its_agent() -> None:
    assert registry.display_name("support") == "support"
    assert registry.display_name("") == "Agent"


async def test_a_user_is_loaded_once_for_a_run(transactional_db: None) -> None:
    user = await User.objects.acreate_user("alice")
    caller = Principal("acme", str(user.pk), credential=f"user:{user.pk}")
    context = Context(run_user=StoredUser(caller))
    await context.load_user()
    first = context.user
    await User.objects.filter(pk=user.pk).aupdate(username="bob")
    await context.load_user()
    assert context.user is first
    assert await asyncio.to_thread(lambda: context.user) is first
