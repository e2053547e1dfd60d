"""Runs that synchronous code enqueues, or returns to the queue, in its transaction."""

from collections.abc import Iterable
from functools import partial

from django.db import IntegrityError, transaction
from msgspec import structs

from streaming import conf
from streaming.agents import registry
from streaming.agents.loops import DeclaredModels
from streaming.budgets.limits import CallerLimit, agent_limit, amounts, limits_of
from streaming.models import Run
from streaming.runs.cancelling import cancel_runs
from streaming.runs.executors.base import Executor, executor_class
from streaming.runs.recovery import take_back
from streaming.runs.signal_sender import send_ended_on_commit
from streaming.runs.start import (
    MAX_START_ATTEMPTS,
    RunDefaults,
    RunRequest,
    start_runs,
)
from streaming.storage.alias import app_alias
from streaming.telemetry.metrics import RESTARTS

DECLARED = DeclaredModels()


def enqueue(request: RunRequest, executor: type[Executor] | None = None) -> Run:
    """Insert a queued run, or return the one that the idempotency key names.

    The calling thread inserts it, in its transaction if it has one. `executor` is by
    default that of the setting. Raises
    `ConversationBusy`, `IdempotencyConflict`, `RateLimited`, `BudgetExhausted` or
    `AgentRemoved`.
    """
    options = conf.get()
    executor = executor or executor_class()
    defaults = RunDefaults(
        worker="",
        agents=DECLARED,
        history_chars=options.agent_history_chars,
        max_runs_per_org=options.run_max_per_org,
        max_pending=options.run_max_pending,
    )
    request = structs.replace(request, limits=_limits(request))
    for attempt in range(1, MAX_START_ATTEMPTS + 1):
        try:
            with transaction.atomic(app_alias()):
                [result] = start_runs([request], defaults, executor.enqueue)
                if result.interrupts:
                    interrupt = partial(_interrupt, result.interrupts, executor)
                    transaction.on_commit(interrupt, using=app_alias(), robust=True)
            return result.run
        except IntegrityError:  # another request won: the next attempt sees its run
            if attempt == MAX_START_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _interrupt(run_id: str, executor: type[Executor]) -> None:
    """Cancel a run for a pending one, in a transaction of its own.

    A transaction that has locked the conversation must not wait for the active run.
    """
    with transaction.atomic(app_alias()):
        cancel_runs([run_id], executor.cancel, executor.enqueue)
        send_ended_on_commit({run_id})


def requeue(run_ids: Iterable[str]) -> set[str]:
    """Take runs from their workers, and return them to the queue; return their ids.

    The calling thread writes, one transaction for each run, or its own transaction. The
    others do not run, are locked, or have a client that would see text twice. Their
    workers learn of it by their next heartbeats.
    """
    if conf.get().run_max_attempts < 2:
        return set()  # a run ends with its attempt
    executor = executor_class()
    requeued: set[str] = set()
    for run_id in run_ids:
        with transaction.atomic(app_alias()):
            if take_back(run_id, executor.enqueue):
                requeued.add(run_id)
    RESTARTS.add(len(requeued), "operator")
    return requeued


def _limits(request: RunRequest) -> list[CallerLimit]:
    """Return the limits that apply to a run of a caller."""
    found = limits_of(request.principal)
    agents = registry.get()
    for agent in agents.offered.values():
        if agents.key(agent) == request.agent and agent.limits:
            given = amounts(agent.limits.get)
            found.append(agent_limit(request.principal, request.agent, given))
    return found
