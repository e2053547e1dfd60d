"""The service of a process whose agent has options that the settings do not give."""

from dataclasses import replace
from typing import Any

from streaming import conf, runs
from streaming.agents.loops import AgentLoops, make_loops
from streaming.agents.registry import OF_SETTINGS
from streaming.runs import RunService
from streaming.storage import database


def install(**options: Any) -> RunService:  # noqa: ANN401
    """Install the service of the settings' agent with other options."""
    found = make_loops().find(OF_SETTINGS)
    agent = replace(found, loop=replace(found.loop, **options))
    loops = AgentLoops({OF_SETTINGS: agent})
    return runs.install(RunService(loops, conf.get(), database.default))
