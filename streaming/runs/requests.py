"""The requests for runs, and the results of their starts."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from streaming.agents.loops import ModelName, QueuePlace
from streaming.budgets.limits import CallerLimit
from streaming.exceptions import Rate
from streaming.models import Run
from streaming.principals import Principal
from streaming.runs.history import History
from streaming.runs.idempotency import RunKey


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request for a run: valid, and complete except for an empty id."""

    input: str
    principal: Principal
    #: Empty: the agent of the settings.
    agent: str = ""
    #: Empty: a new conversation.
    conversation_id: str = ""
    #: The message that it follows, 0 for none; None: the head of the conversation.
    parent_message: int | None = None
    #: The run whose question it answers again; empty: the input is the question.
    regenerate: str = ""
    context: dict[str, str] = {}
    max_iterations: int = 5
    background: bool = False
    #: Whether its readers remove the text that a further attempt voids.
    restarts: bool = True
    #: Empty: none.
    idempotency_key: str = ""
    request_hash: str = ""
    #: The W3C trace context of the request; empty: none.
    traceparent: str = ""
    #: Values of Python code for the tools, which JSON can hold.
    deps: object = None
    #: The limits that apply to the caller.
    limits: Sequence[CallerLimit] = ()
    #: One of `ON_BUSY`: the effect if the conversation has an active run.
    on_busy: str = "reject"
    #: True if this process executes as many runs as it may: it may only become pending.
    must_wait: bool = False

    @property
    def names_place(self) -> bool:
        """Whether it does not just follow the head of its conversation."""
        return self.parent_message is not None or bool(self.regenerate)

    @property
    def org_id(self) -> str:
        """The organization of the caller."""
        return self.principal.org_id

    @property
    def run_key(self) -> RunKey | None:
        """The idempotency key with its owner, if there is one."""
        caller, key = self.principal, self.idempotency_key
        return (
            RunKey(caller.org_id, caller.owner, key, self.request_hash) if key else None
        )


class Agents(Protocol):
    """The models and queues of agents, by the names of the agents in their runs."""

    def model_of(self, key: str) -> ModelName:
        """Return the model of an agent. Raises `AgentRemoved`."""
        ...

    def queue_of(self, key: str) -> QueuePlace:
        """Return the queue of an agent. Raises `AgentRemoved`."""
        ...


class RunDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """The values that all runs of a process share."""

    #: The worker that claims the runs; empty: they are inserted queued.
    worker: str
    agents: Agents
    history_chars: int
    #: 0: no limit.
    max_runs_per_org: int = 0
    #: The pending runs of a conversation; 0: no limit.
    max_pending: int = 0


class StartResult(msgspec.Struct, frozen=True):
    """A run and its history, which ends with the run's own question.

    `history` is None if the run existed already, is steered, or is pending.
    """

    run: Run
    history: History | None
    #: The caller's limit of runs in a minute, if there is one.
    rate: Rate | None = None
    #: The active run that is to be cancelled for this one; empty: none.
    interrupts: str = ""
    #: The input with which the request steers the run; empty: none.
    message_id: str = ""
    #: The number of the run's newest entry then; None: it has no input.
    after: int | None = None

    @property
    def begins(self) -> bool:
        """Whether this start created the run, and it may be executed."""
        return self.history is not None
