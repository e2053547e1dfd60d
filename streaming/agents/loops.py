"""The loops of all agents in one process and event loop."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from msgspec import structs

from streaming import conf
from streaming.agent.loop import AgentLoop
from streaming.agents import permissions, registry
from streaming.agents.declaration import Agent
from streaming.agents.functions import closing_connections
from streaming.agents.registry import Registry
from streaming.exceptions import AgentRemoved, InternalError
from streaming.providers import make_provider
from streaming.providers.base import Provider, ProviderOptions
from streaming.tools.base import Context, Tool
from streaming.tools.toolbox import Toolbox, count_abandoned

logger = logging.getLogger(__name__)


class ModelName(NamedTuple):
    """A model by the names that a run stores."""

    provider: str
    model: str


class QueuePlace(NamedTuple):
    """The queue of an agent's runs, and their priority in it."""

    queue: str
    priority: int


class DeclaredModels:
    """The models and queues of the declared agents, known without their providers."""

    def model_of(self, key: str) -> ModelName:
        """Return the model of an agent. Raises `AgentRemoved`."""
        options = conf.provider(_declared(key).model)
        return ModelName(options.llm_provider, options.model_name)

    def queue_of(self, key: str) -> QueuePlace:
        """Return the queue of an agent. Raises `AgentRemoved`."""
        agent = _declared(key)
        return QueuePlace(agent.queue, agent.priority)


@dataclass(frozen=True)
class RunnableAgent:
    """An agent with its loop, which has its provider."""

    agent: Agent
    loop: AgentLoop

    async def prepare(self, context: Context) -> tuple[AgentLoop, Context]:
        """Return the loop and the context of one attempt of a run.

        The loop has the tools for which the caller has permission, and the
        instructions of this run. Raises `InternalError` if a function takes too long.
        """
        agent, loop = self.agent, self.loop
        if not (agent.deps or agent.instruction_functions or loop.toolbox.restricted):
            return loop, context
        seconds = loop.tool_timeout
        try:
            async with asyncio.timeout(seconds):
                toolbox = await loop.toolbox.permitted(context.principal)
                if agent.deps and context.deps is None:
                    deps = await agent.deps(context)
                    context = structs.replace(context, deps=deps)
                texts = [await each(context) for each in agent.instruction_functions]
        except TimeoutError:
            logger.error(
                "run failed: agent %s not prepared in %g s",
                agent.name,
                seconds,
                extra={"run_id": context.run},
            )
            raise InternalError from None
        if toolbox is not loop.toolbox or texts:
            prompt = "\n\n".join(filter(None, [loop.system_prompt, *map(str, texts)]))
            loop = replace(loop, toolbox=toolbox, system_prompt=prompt)
        return loop, context


class AgentLoops:
    """The agents that the runs of a process may have, each with its loop."""

    def __init__(self, agents: Mapping[str, RunnableAgent]) -> None:
        self._agents = agents

    def find(self, key: str) -> RunnableAgent:
        """Return the agent of a run by its name there. Raises `AgentRemoved`."""
        try:
            return self._agents[key]
        except KeyError:
            raise _removed(key) from None

    @property
    def keys(self) -> Collection[str]:
        """The names of the agents in the rows of their runs."""
        return self._agents.keys()

    def model_of(self, key: str) -> ModelName:
        """Return the model of an agent. Raises `AgentRemoved`."""
        provider = self.find(key).loop.provider
        return ModelName(provider.name, provider.model)

    def queue_of(self, key: str) -> QueuePlace:
        """Return the queue of an agent. Raises `AgentRemoved`."""
        agent = self.find(key).agent
        return QueuePlace(agent.queue, agent.priority)

    @property
    def queues(self) -> Collection[str]:
        """The queues of the agents."""
        return {each.agent.queue for each in self._agents.values()}

    async def prepare(self, key: str, context: Context) -> tuple[AgentLoop, Context]:
        """Return the loop and the context of one attempt of a run.

        Raises `AgentRemoved` and the errors of the agent's functions.
        """
        try:
            agent = self.find(key)
        except AgentRemoved:
            fields = {"run_id": context.run}
            logger.error("run failed: no agent %r", key, extra=fields)
            raise
        return await agent.prepare(context)

    @property
    def limits(self) -> Mapping[str, Mapping[str, float]]:
        """The limits of agents for each of their users, of those that have any."""
        return {key: a.agent.limits for key, a in self._agents.items()}

    @property
    def abandoned_tool_calls(self) -> int:
        """The number of tool calls that still run after their runs stopped waiting."""
        return count_abandoned(a.loop.toolbox for a in self._agents.values())

    async def aclose(self) -> None:
        """Close the connections of all providers."""
        providers = (each.loop.provider for each in self._agents.values())
        for provider in {id(each): each for each in providers}.values():
            await provider.aclose()


def make_loops(agents: Registry | None = None) -> AgentLoops:
    """Return the loops of agents; those of equal options share one provider."""
    agents = agents or registry.get()
    providers: dict[tuple[ProviderOptions, ...], Provider] = {}
    made: dict[str, RunnableAgent] = {}
    for agent in agents.offered.values():
        models = tuple(map(conf.provider, (agent.model, *agent.fallbacks)))
        if models not in providers:
            providers[models] = make_provider(models[0], models[1:])
        loop = make_loop(agent, providers[models])
        made[agents.key(agent)] = RunnableAgent(agent, loop)
    return AgentLoops(made)


def make_single(agent: Agent, provider: Provider) -> AgentLoops:
    """Return the loop of one agent with the model of a provider."""
    key = registry.get().key(agent)
    return AgentLoops({key: RunnableAgent(agent, make_loop(agent, provider))})


def make_loop(agent: Agent, provider: Provider) -> AgentLoop:
    """Return the loop of an agent with the model of a provider."""
    options, model = conf.get(), conf.provider(agent.model)
    models = [model, *map(conf.provider, agent.fallbacks)]
    return AgentLoop(
        provider=provider,
        toolbox=Toolbox(map(in_thread, agent.tools), decide=permissions.decide),
        system_prompt=agent.system_prompt,
        tool_timeout=options.agent_tool_timeout_seconds,
        max_tool_result_chars=options.agent_max_tool_result_chars,
        limits=model.limits,
        max_run_chars=options.run_max_chars,
        max_output_tokens=max(each.max_output_tokens for each in models),
        summarize_history=options.agent_summarize_history,
        output=agent.output,
    )


def in_thread(tool: Tool[..., Any]) -> Tool[..., Any]:
    """Return a tool that leaves no database connection behind in its threads."""
    if tool.is_async:
        return tool
    return replace(tool, function=closing_connections(tool.function))


def _declared(key: str) -> Agent:
    """Return a declared agent by its name in its runs. Raises `AgentRemoved`."""
    try:
        return registry.get().by_key(key)
    except registry.UnknownAgent:
        raise _removed(key) from None


def _removed(key: str) -> AgentRemoved:
    name = registry.display_name(key)
    message = f"The agent {name!r} of this run no longer exists on this server."
    return AgentRemoved(message)
