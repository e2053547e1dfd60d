"""The ways in which Python code starts runs: `run`, `run_sync`, `start`, `stream`,
`enqueue`.

`run`, `run_sync` and `stream` own their run: a caller that leaves them before its end
cancels it, at the provider too. `start` and `enqueue` do not, nor does a call with an
idempotency key, which another call may have joined.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial

from asgiref.sync import async_to_sync
from django.db import transaction

from streaming import runs
from streaming.calls.handle import AgentRun
from streaming.calls.overriding import Override, find_override
from streaming.calls.requests import Call
from streaming.events import Event
from streaming.runs import get_own_service
from streaming.runs.executors.in_process import InProcessExecutor
from streaming.storage.alias import app_alias

#: Time for a cancelled run to write its end.
STOP_SECONDS = 10.0


async def start(call: Call) -> AgentRun:
    """Start a run; it ends on its own, or with the event loop."""
    found = find_override(call.agent)
    find_service = found.service if found else get_own_service
    request = await call.ato_request()
    result = await find_service().begin(request)
    return AgentRun(result.run, find_service, is_steered=bool(result.message_id))


async def run(call: Call) -> AgentRun:
    """Start a run and wait for its end. Raises `RunFailed`."""
    started = await _start_owned(call)
    try:
        return await started.wait()
    except asyncio.CancelledError:
        await _leave(started, call)
        raise


async def stream(call: Call) -> AsyncGenerator[Event]:
    """Start a run and yield its events."""
    started = await _start_owned(call)
    has_ended = False
    try:
        async for event in started.events():
            yield event
        has_ended = True
    finally:
        if not has_ended:
            await _leave(started, call)


def run_sync(call: Call) -> AgentRun:
    """Start a run and wait for its end, in synchronous code. Raises `RunFailed`.

    If this process serves requests, its event loop executes the run. Otherwise an event
    loop in this thread does, for as long as the run takes.
    """
    if find_override(call.agent):
        return async_to_sync(_run_and_close)(call)
    if loop := runs.serving_loop():
        ended = asyncio.run_coroutine_threadsafe(run(call), loop)
        try:
            return ended.result()
        except BaseException:  # such as a KeyboardInterrupt of this thread
            ended.cancel()
            raise
    return asyncio.run(_run_and_close(call))


def enqueue(call: Call) -> AgentRun:
    """Insert a run that a serving process executes after the commit.

    With another model the calling thread executes it, at the commit.
    """
    found = find_override(call.agent)
    row = runs.enqueue(call.to_request(), InProcessExecutor if found else None)
    if found:
        queued = AgentRun(row, found.service)
        execute = partial(async_to_sync(_execute_queued), found, queued)
        transaction.on_commit(execute, using=app_alias())
        return queued
    transaction.on_commit(runs.wake_executors, using=app_alias())
    return AgentRun(row)


def refuse_event_loop(name: str, instead: str) -> None:
    """Raise `RuntimeError` if the calling thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"{name}() would block the event loop: await {instead}().")


async def _start_owned(call: Call) -> AgentRun:
    """Start a run; cancel it if the caller leaves in the meantime."""
    starting = asyncio.ensure_future(start(call))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(Exception):
            await _leave(await starting, call)
        raise


async def _leave(started: AgentRun, call: Call) -> None:
    """Cancel a run that its caller no longer waits for, and have its end written."""
    if not (call.is_shared or started.is_steered):
        with suppress(Exception):
            async with asyncio.timeout(STOP_SECONDS):
                await started.cancel()
                await started.wait()


async def _run_and_close(call: Call) -> AgentRun:
    try:
        return await run(call)
    finally:
        await _close(find_override(call.agent))


async def _execute_queued(found: Override, queued: AgentRun) -> None:
    """Execute a run that this thread has enqueued."""
    try:
        await found.service().execute_queued(queued.id)
        await queued.refresh()
    finally:
        await _close(found)


async def _close(found: Override | None) -> None:
    if found:
        await found.aclose()
    await runs.aclose()
