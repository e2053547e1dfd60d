"""The life of a run: started by one request, followed by any, stopped for good by one.

`executor()` is this process's; everything here works on any run, wherever it runs.
"""

import asyncio
import os
import secrets
import socket
from typing import cast

from django.apps import apps
from django.db import Error, IntegrityError

from streaming import conf
from streaming.agent.loop import Agent
from streaming.apps import StreamingConfig
from streaming.exceptions import ShuttingDown
from streaming.models import Run
from streaming.providers import make_provider
from streaming.runs import leases
from streaming.runs.executors.in_process import STOP_SECONDS, InProcessExecutor
from streaming.runs.start import RunDefaults, RunRequest, start_runs
from streaming.storage import database

__all__ = ["RunRequest", "aclose", "cancel", "executor", "start", "wait_for_end"]

_executor: InProcessExecutor | None = None
_loop: asyncio.AbstractEventLoop | None = None
_starting: set[asyncio.Task[Run]] = set()
#: How often a request may lose a race before it gives up.
MAX_START_ATTEMPTS = 5


def executor() -> InProcessExecutor:
    """The executor of this process and its event loop, made at the first call."""
    global _executor, _loop
    loop = asyncio.get_running_loop()
    if _executor is None or _loop is not loop:
        _executor, _loop = _make_executor(), loop
    return _executor


async def aclose() -> None:
    """End what runs here and leave nothing open."""
    global _executor
    if _executor and _loop is asyncio.get_running_loop():
        if _starting:  # what was begun is run, and ended with the others
            await asyncio.wait(_starting, timeout=STOP_SECONDS)
        here, _executor = _executor, None
        await here.aclose()


async def start(request: RunRequest) -> Run:
    """Start a run, or join the one that the request's idempotency key names.

    When this returns, the run and the user's message are durable. A caller that is
    cancelled meanwhile has started the run all the same. Raises `ShuttingDown`,
    `ConversationBusy`, `IdempotencyConflict` or `RateLimited`.
    """
    if executor().draining:
        raise ShuttingDown
    # A task of its own: what is created must also be run, whoever hangs up.
    task = asyncio.create_task(_start(request))
    _starting.add(task)
    task.add_done_callback(_started)
    return await asyncio.shield(task)


async def _start(request: RunRequest) -> Run:
    here = executor()
    terms = _terms(here)
    for attempt in range(MAX_START_ATTEMPTS):
        try:
            created = await database.execute_write_batched(start_runs, request, terms)
            break
        except IntegrityError:  # another request won the race: see what it made
            if attempt == MAX_START_ATTEMPTS - 1:
                raise
    if created.history is not None:
        here.submit(created.run, created.history)
    return created.run


def _terms(here: InProcessExecutor) -> RunDefaults:
    options = conf.get()
    return RunDefaults(
        worker=here.worker,
        provider=here.agent.provider.name,
        model=here.agent.provider.model,
        history_chars=options.agent_history_chars,
        max_runs_per_org=options.run_max_per_org,
    )


def _started(task: asyncio.Task[Run]) -> None:
    _starting.discard(task)
    if not task.cancelled():
        task.exception()  # told to the caller, unless it has gone


async def cancel(run: Run) -> bool:
    """Stop a run wherever it runs; false when it had ended already."""
    here = executor().stop(run.id)  # also while the database is slow or away
    try:
        asked = await database.execute_write(leases.request_cancel, run.id)
    except Error:
        if not here:
            raise
        asked = True
    return asked or here


async def wait_for_end(run: Run) -> None:
    """Return when the run has ended; until then it counts as followed."""
    async with executor().following(run.id, 0) as batches:
        async for batch in batches:
            if batch and batch[-1].is_last:
                return


def _make_executor() -> InProcessExecutor:
    options = conf.get()
    app = cast(StreamingConfig, apps.get_app_config(StreamingConfig.name))
    agent = Agent(
        provider=make_provider(conf.provider()),
        toolbox=app.toolbox,
        system_prompt=options.agent_system_prompt,
        tool_timeout=options.agent_tool_timeout_seconds,
        max_tool_result_chars=options.agent_max_tool_result_chars,
    )
    worker = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
    return InProcessExecutor(agent, options, worker)
