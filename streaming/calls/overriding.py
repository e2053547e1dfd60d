"""Agents with another model, as in tests: their runs are executed by the caller."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from streaming import conf
from streaming.agents import registry
from streaming.agents.declaration import Agent
from streaming.agents.loops import make_single
from streaming.aio.loop_end import close_with_loop
from streaming.providers import make_provider
from streaming.providers.base import Provider
from streaming.runs import RunService
from streaming.storage.caller import CallerDatabase


class Override:
    """Another model for an agent, with the services of its runs by event loop.

    The services use the database in the thread of the synchronous caller, and so in
    the transaction of a test.
    """

    def __init__(self, agent: Agent, model: Provider | str) -> None:
        self._agent = agent
        self._model = model
        self._services: WeakKeyDictionary[asyncio.AbstractEventLoop, RunService] = (
            WeakKeyDictionary()
        )

    def service(self) -> RunService:
        """Return the service of this event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._services:
            model = self._model
            if isinstance(model, str):  # a provider belongs to one event loop
                model = make_provider(conf.provider(model))
            agents = make_single(self._agent, model)
            options = replace(conf.get(), run_executor="in_process")
            self._services[loop] = RunService(
                agents, options, CallerDatabase(), threads=False
            )
            close_with_loop(self.aclose)
        return self._services[loop]

    async def aclose(self) -> None:
        """Close the service of this event loop."""
        if service := self._services.pop(asyncio.get_running_loop(), None):
            await service.aclose()


_overrides: ContextVar[Mapping[str, Override]] = ContextVar(
    "overrides", default=MappingProxyType({})
)


@contextmanager
def override(agent: Agent, model: Provider | str) -> Iterator[None]:
    """Give an agent another model in this context: this thread, or this task."""
    key = registry.get().key(agent)
    changed = {**_overrides.get(), key: Override(agent, model)}
    token = _overrides.set(MappingProxyType(changed))
    try:
        yield
    finally:
        _overrides.reset(token)


def find_override(agent: str) -> Override | None:
    """Return the override of an agent in this context, by its name in its runs."""
    return _overrides.get().get(agent)
