"""Agents with a scripted model, in the kinds of tests that projects have."""

import asyncio
import threading
from typing import ClassVar

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import AsyncRequestFactory, TestCase, TransactionTestCase
from pydantic import BaseModel

from streaming import Agent, RunFailed, runs
from streaming.agents.registry import Registry
from streaming.calls.overriding import find_override
from streaming.events import Content, Thinking
from streaming.exceptions import ProviderTimeout
from streaming.models import Run
from streaming.providers.base import ResponseEnd, TokenUsage
from streaming.testing import call, pause, scripted, thinking
from streaming.tools.base import Context


class Triage(BaseModel):
    """The answer of an agent."""

    urgent: bool


LIMITS = {"cost_per_day": 2.0}
support = Agent("support", instructions="You help customers.", limits=LIMITS)
other = Agent("other")
triage = Agent("triage", output_type=Triage)


@support.tool
def customers(context: Context) -> int:
    """Return the number of customers."""
    return User.objects.count()


@support.tool(permission="auth.view_user")
async def address(context: Context) -> str:
    """Return the address of the customer."""
    return f"{context.user.email}"


@support.tool
def sort(question: str) -> bool:
    """Return whether a question is urgent."""
    return bool(triage.run_sync(question).output.urgent)


@support.instructions
def names(context: Context) -> str:
    return f"The customer is {context.user}."


@pytest.fixture(autouse=True)
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry([support, other, triage])
    monkeypatch.setattr("streaming.agents.registry.get", lambda: registry)


class RunsInTheTransactionOfATestCase(TestCase):
    """Nothing of a run outlives the test, and its tools see the rows of the test."""

    user: ClassVar[User]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create(username="alice", email="alice@acme.test")

    def test_run_sync(self) -> None:
        model = scripted(call("customers"), "You are our first.")
        with support.override(model=model):
            run = support.run_sync("How many customers?", user=self.user)
        self.assertEqual(run.output, "You are our first.")
        self.assertEqual(Run.objects.get().id, run.id)
        self.assertEqual([r.result for r in model.tool_results], ["1"])
        request = model.requests[0]
        self.assertEqual(request.messages[-1].text, "How many customers?")
        self.assertIn("The customer is alice.", request.system)
        self.assertEqual([tool.name for tool in request.tools], ["customers", "sort"])
        model.assert_finished()

    def test_the_permissions_of_the_user_count(self) -> None:
        self.user.user_permissions.add(Permission.objects.get(codename="view_user"))
        model = scripted(call("address"), "Yes.")
        with support.override(model=model):
            support.run_sync("My address?", user=self.user)
        self.assertEqual([r.result for r in model.tool_results], ["alice@acme.test"])

    def test_a_tool_may_call_another_agent(self) -> None:
        model = scripted(call("sort", question="Help!"), "Urgent.")
        sorting = scripted('{"urgent": true}')
        with support.override(model=model), triage.override(model=sorting):
            support.run_sync("Help!", user=self.user)
        self.assertEqual([r.result for r in model.tool_results], ["true"])
        self.assertEqual(Run.objects.count(), 2)

    def test_nothing_is_left_of_other_tests(self) -> None:
        self.assertFalse(Run.objects.exists())
        with support.override(model=scripted("Hi")):
            support.run_sync("Hi", conversation="c")

    def test_without_another_model_the_transaction_is_refused(self) -> None:
        with self.assertRaisesRegex(RuntimeError, r"In a TestCase.*override"):
            support.run_sync("Hi")

    def test_a_conversation_goes_on(self) -> None:
        model = scripted("Hello.", "Bye.")
        with support.override(model=model):
            first = support.run_sync("Hi")
            support.run_sync("Leave", conversation=first.conversation)
        texts = [message.text for message in model.requests[-1].messages]
        self.assertEqual(texts, ["Hi", "Hello.", "Leave"])

    def test_enqueue_executes_at_the_commit(self) -> None:
        commit = self.captureOnCommitCallbacks(execute=True)
        with support.override(model=scripted("Done.")), commit, transaction.atomic():
            queued = support.enqueue("Sum up", user=self.user)
            self.assertEqual(Run.objects.get().status, "queued")
        self.assertEqual((queued.status, queued.output), ("completed", "Done."))

    def test_an_error_of_the_model(self) -> None:
        model = scripted(["It", ProviderTimeout()], "again")
        with support.override(model=model), self.assertRaises(RunFailed) as failed:
            support.run_sync("Hi")
        self.assertEqual(failed.exception.output, "It")
        self.assertEqual(failed.exception.error.code, "provider_timeout")
        with self.assertRaisesRegex(AssertionError, "not called for .*again"):
            model.assert_finished()

    def test_a_script_that_is_too_short(self) -> None:
        refused = self.assertRaisesRegex(RunFailed, "has 1 responses.* once more")
        with support.override(model=scripted(call("customers"))), refused:
            support.run_sync("Hi")

    async def test_run(self) -> None:
        model = scripted(call("customers"), "One.")
        with support.override(model=model):
            run = await support.run("How many?", user=self.user)
        self.assertEqual(run.output, "One.")
        self.assertEqual([r.result for r in model.tool_results], ["1"])
        self.assertEqual((await Run.objects.aget()).id, run.id)

    async def test_stream_and_start(self) -> None:
        model = scripted([thinking("Hm."), "Yes, ", "it is."], [pause(60), "late"])
        with support.override(model=model):
            events = [event async for event in support.stream("Is it?")]
            kinds = [type(event) for event in events[:3]]
            self.assertEqual(kinds, [Thinking, Content, Content])
            run = await support.start("Wait")
            await run.cancel()
            self.assertEqual((await run.wait()).status, "cancelled")

    async def test_a_response(self) -> None:
        with support.override(model=scripted("Hi there")):
            run = await support.start("Hi")
            response = run.response(AsyncRequestFactory().get("/"))
            body = b"".join([chunk async for chunk in response])
        self.assertIn(b"event: done", body)


class RunsOfATransactionTestCase(TransactionTestCase):
    """Runs commit, in the thread of the test."""

    def test_run_sync(self) -> None:
        with support.override(model=scripted("Hello.")):
            run = support.run_sync("Hi")
            queued = support.enqueue("Hi")
        self.assertEqual(run.output, "Hello.")
        self.assertEqual(queued.status, "failed")  # the script has one response
        self.assertEqual(Run.objects.count(), 2)


@pytest.mark.django_db
def test_the_newest_override_counts_and_each_ends() -> None:
    with support.override(model=scripted("outer", "outer")):
        with support.override(model=scripted("inner")):
            assert support.run_sync("Hi").output == "inner"
        assert support.run_sync("Hi").output == "outer"
    with pytest.raises(RuntimeError, match="atomic"):
        support.run_sync("Hi")


@pytest.mark.django_db
def test_an_override_is_of_one_agent_in_one_thread() -> None:
    found: list[object] = []

    def look() -> None:
        found.append(find_override("support"))

    with support.override(model=scripted("Hi")):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="atomic"):
            other.run_sync("Hi")
    assert found == [None]


@pytest.mark.usefixtures("transactional_db")
async def test_tasks_have_overrides_of_their_own() -> None:
    async def ask(answer: str) -> str:
        with support.override(model=scripted([pause(0.05), answer])):
            return (await support.run("Hi")).text

    answers = await asyncio.gather(*map(ask, ["a", "b", "c"]))
    assert answers == ["a", "b", "c"]
    assert not runs._services.get(asyncio.get_running_loop())


@pytest.mark.django_db
def test_a_function_answers_by_the_request() -> None:
    model = scripted(lambda request: request.messages[-1].text.upper())
    with support.override(model=model):
        assert support.run_sync("hi").output == "HI"
        assert support.run_sync("ho").output == "HO"
    assert len(model.requests) == 2


@pytest.mark.django_db
def test_usage_and_the_reason_of_the_end_are_scripted() -> None:
    usage = TokenUsage(input_tokens=100, output_tokens=20)
    model = scripted(["cut", usage, ResponseEnd("max_tokens")])
    with support.override(model=model):
        run = support.run_sync("Hi")
    assert (run.usage.input_tokens, run.usage.output_tokens) == (100, 20)
    assert run.stop_reason == "max_tokens"


@pytest.mark.django_db
def test_the_output_has_the_type_of_the_agent() -> None:
    with triage.override(model=scripted('{"urgent": true}', "no", "no")):
        run = triage.run_sync("Help!")
        assert run.output == Triage(urgent=True)
        assert run.text == '{"urgent": true}'
        with pytest.raises(RunFailed, match="invalid_output") as failed:
            triage.run_sync("Help!")
    assert failed.value.output == "no"


@pytest.mark.usefixtures("transactional_db")
def test_a_model_is_named_like_in_the_settings() -> None:
    with other.override(model="demo:other"):
        run = other.run_sync("Explain how photosynthesis works")
    assert "light" in run.output
    assert Run.objects.get().model == "other"


def test_a_script_is_one_function_or_responses() -> None:
    with pytest.raises(TypeError, match="one function, or responses"):
        scripted("Hi", lambda request: "Hi")
