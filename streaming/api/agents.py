"""The agents that a caller may use: their list, and the choice of one."""

from typing import Any

import msgspec
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming import runs
from streaming.agents import registry
from streaming.agents.declaration import Agent
from streaming.agents.permissions import is_permitted
from streaming.agents.registry import UnknownAgent
from streaming.api.endpoint import endpoint
from streaming.api.responses import json_response
from streaming.api.schemas import OrgQuery, query
from streaming.exceptions import (
    FieldError,
    Forbidden,
    InvalidRequest,
    Unauthenticated,
)
from streaming.principals import Principal
from streaming.tools.permissions import ANYONE


@endpoint(GET="read", reads=query(OrgQuery))
async def index(
    request: HttpRequest, principal: Principal, _: OrgQuery
) -> HttpResponseBase:
    """List the agents that the caller may use, the default first."""
    agents = [
        await describe(agent, principal)
        for agent in registry.get().offered.values()
        if await is_permitted(agent.permission, principal)
    ]
    return json_response({"agents": agents})


async def select_agent(name: str | None, principal: Principal) -> Agent:
    """Return the agent that a request names, or the default.

    Raises `InvalidRequest` for an unknown name, and `Unauthenticated` or `Forbidden`
    if the caller has no permission to use the agent. An anonymous caller cannot tell
    the name of a restricted agent from an unknown one.
    """
    try:
        agent = find_agent(name)
    except InvalidRequest:
        agents = registry.get().offered.values()
        if principal.is_anonymous and not all(map(is_public, agents)):
            raise Unauthenticated from None
        raise
    if not await is_permitted(agent.permission, principal):
        if principal.is_anonymous:
            raise Unauthenticated
        raise Forbidden(f"You have no permission to use the agent {agent.name!r}.")
    return agent


def find_agent(name: str | None) -> Agent:
    """Return the agent of a name, or the default. Raises `InvalidRequest`."""
    try:
        return registry.get().select(name)
    except UnknownAgent:
        message = "must be the name of an agent: GET /api/v1/agents lists them"
        raise InvalidRequest([FieldError("agent", message)]) from None


def public_agent(name: str | None) -> Agent | None:
    """Return the agent of a name, or the default; None if it is restricted or unknown.

    Callers without credentials may know a public agent.
    """
    try:
        agent = find_agent(name)
    except InvalidRequest:
        return None
    return agent if is_public(agent) else None


def is_public(agent: Agent) -> bool:
    """Return whether an agent is described to callers without credentials.

    That of the settings is, so that a page learns how to authenticate.
    """
    return agent is registry.get().of_settings or agent.permission == ANYONE


async def describe(agent: Agent, principal: Principal) -> dict[str, Any]:
    """Return an agent as JSON, with the tools for which a caller has permission."""
    agents = registry.get()
    loop = runs.get_service().agents.find(agents.key(agent)).loop
    tools: list[dict[str, Any]] = []
    for tool in (await loop.toolbox.permitted(principal)).tools:
        title = {"title": tool.title} if tool.title else {}
        tools.append(msgspec.structs.asdict(tool.spec) | title)
    return {
        "name": agent.name,
        "title": agent.title or agent.name,
        "description": agent.description,
        "opening_questions": agent.opening_questions,
        "provider": loop.provider.name,
        "model": loop.provider.model,
        "tools": tools,
        "default": agent is agents.default,
    }
