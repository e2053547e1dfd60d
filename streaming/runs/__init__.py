"""The life of a run: started by one request, followed by many, ended once.

`get_service()` returns the service of this process (`service.RunService`): coroutines
start, follow and cancel runs of any process through it. Synchronous code has one
function, `cancel_from_thread`.
"""

import asyncio
from collections.abc import Collection
from typing import cast

from django.apps import apps
from django.db import transaction

from streaming import conf
from streaming.agent.loop import Agent
from streaming.apps import StreamingConfig
from streaming.providers import make_provider
from streaming.runs import leases
from streaming.runs.service import RunService
from streaming.runs.start import RunRequest
from streaming.storage import database

__all__ = [
    "RunRequest",
    "RunService",
    "aclose",
    "cancel_from_thread",
    "get_service",
    "install",
    "make_agent",
]

_service: RunService | None = None
_loop: asyncio.AbstractEventLoop | None = None


def get_service() -> RunService:
    """Return the service of this process and event loop, created at the first call."""
    if _service is None or _loop is not asyncio.get_running_loop():
        return install(RunService(make_agent(), conf.get(), database.default))
    return _service


def install(service: RunService) -> RunService:
    """Make a service that of this process and event loop, before its first use.

    Raises `RuntimeError` if there is one, which would never be closed.
    """
    global _service, _loop
    loop = asyncio.get_running_loop()
    if _service and _loop is loop:
        raise RuntimeError("this event loop has a run service already")
    _service, _loop = service, loop
    return service


async def aclose() -> None:
    """End the runs of this process and event loop, and leave nothing open."""
    global _service
    if _service and _loop is asyncio.get_running_loop():
        service, _service = _service, None
        await service.aclose()


def cancel_from_thread(run_ids: Collection[str]) -> set[str]:
    """Cancel runs from synchronous code; return those that had not ended.

    The request is written by the calling thread, in its transaction if it has one. The
    owner of each running run reads it with its next heartbeat.
    """
    with transaction.atomic():
        return leases.request_cancel(run_ids)


def make_agent() -> Agent:
    """Return the agent of the settings, with the tools of all installed apps."""
    options, model = conf.get(), conf.provider()
    app = cast(StreamingConfig, apps.get_app_config(StreamingConfig.name))
    return Agent(
        provider=make_provider(model),
        toolbox=app.toolbox,
        system_prompt=options.agent_system_prompt,
        tool_timeout=options.agent_tool_timeout_seconds,
        max_tool_result_chars=options.agent_max_tool_result_chars,
        limits=model.limits,
        max_run_chars=options.run_max_chars,
    )
