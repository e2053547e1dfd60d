"""The class of agents that projects declare and call.

Models and settings are imported by the calls: a project may declare agents before its
apps are loaded.
"""

from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from asgiref.sync import markcoroutinefunction

from streaming.agents import declaration
from streaming.events import Event
from streaming.providers.base import Provider

if TYPE_CHECKING:
    from streaming.calls.handle import AgentRun
    from streaming.calls.requests import Call


class Options(TypedDict, total=False):
    """The options of a call.

    - `user`: the caller, of the project's user model; its tools act for it.
    - `organization`: the tenant, as an object or its key; by default that of the user.
    - `conversation`: the id of the conversation to continue; by default a new one.
    - `parent_message`: the id of the message to continue after, 0 for the beginning; by
      default the head of the conversation.
    - `regenerate`: a run of the conversation, or its id, whose question is answered
      again; the call has no input then.
    - `deps`: values for the tools that JSON can hold; they are stored with the run.
    - `context`: texts that count as claims of a client.
    - `max_iterations`: the most model calls; by default the agent's.
    - `on_busy`: `"reject"`, `"queue"`, `"interrupt"` or `"steer"`: the effect if the
      conversation has an active run; by default the agent's.
    - `idempotency_key`: a repeated call with the same key joins the first one's run.
    """

    user: Any
    organization: Any
    conversation: Any
    parent_message: int
    regenerate: Any
    deps: Any
    context: dict[str, str]
    max_iterations: int
    on_busy: str
    idempotency_key: str


class Agent(declaration.Agent):
    """An agent that Python code may call as well.

    Each call is a durable run, with the rights of its user. The agent's own permission
    is for requests: code that calls an agent has decided that.
    """

    __doc__ = declaration.Agent.__doc__

    @markcoroutinefunction
    def run(
        self, input: str = "", **options: Unpack[Options]
    ) -> "Coroutine[Any, Any, AgentRun]":
        """Run to the end, and return the run. Raises `RunFailed` if it fails.

        A caller that is cancelled cancels the run. Raises `InvalidRequest`,
        `ConversationBusy`, `IdempotencyConflict` or `RateLimited` if it cannot start.
        """
        from streaming.calls import starting

        return starting.run(self._call("run", input, options))

    def run_sync(self, input: str = "", **options: Unpack[Options]) -> "AgentRun":
        """Run to the end in synchronous code. Raises the errors of `run`."""
        from streaming.calls import starting

        starting.refuse_event_loop("run_sync", "run")
        return starting.run_sync(self._call("run_sync", input, options))

    @markcoroutinefunction
    def start(
        self, input: str = "", **options: Unpack[Options]
    ) -> "Coroutine[Any, Any, AgentRun]":
        """Start a run, and return it before its end. Raises the errors of `run`."""
        from streaming.calls import starting

        return starting.start(self._call("start", input, options))

    def stream(
        self, input: str = "", **options: Unpack[Options]
    ) -> AsyncGenerator[Event]:
        """Run to the end, and yield the events. Raises the errors of a start.

        A failure of the run is its event `ErrorEvent`. A caller that closes the
        generator before the end cancels the run.
        """
        from streaming.calls import starting

        return starting.stream(self._call("stream", input, options))

    def enqueue(self, input: str = "", **options: Unpack[Options]) -> "AgentRun":
        """Have a serving process run it after the commit of the calling transaction.

        Raises the errors of a start.
        """
        from streaming.calls import requests, starting

        starting.refuse_event_loop("enqueue", "start")
        return starting.enqueue(requests.make_call(self, input, **options))

    @contextmanager
    def override(self, *, model: Provider | str) -> Iterator[None]:
        """Give the agent another model in this thread or task, as in tests.

        The caller's process executes the runs, in the transaction of the test.
        """
        from streaming.calls import overriding

        with overriding.override(self, model):
            yield

    def _call(self, name: str, input: str, options: Options) -> "Call":
        """Return a call that may not be in a transaction."""
        from streaming.calls import overriding, requests

        call = requests.make_call(self, input, **options)
        if not overriding.find_override(call.agent):
            requests.refuse_in_transaction(name)
        return call
