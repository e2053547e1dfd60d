"""An LLM agent behind HTTP and SSE, where a stream is a durable run.

    from streaming import Agent, Context

The path of a request, from the top down; imports point down only:

    apps               at start: the settings, the agents of all apps
    urls               the routes
    calls              agents called by the project's own Python code
    api, admin         HTTP in, HTTP out; the operator's view
    selftest, server   the test stream; the ASGI application and its event streams
    runs               the life of a run: start, follow, cancel, drain, recover
    agents             the declared agents, and the loop of each
    event_log          the numbered events of a run, followed from any number on
    agent              the loop: model call, tool calls, model call
    storage            the threads and statements that use the database
    models, conf       the database rows; the typed settings
    providers, tools   the model's side, the world's side
    wire, aio          events as bytes; timeouts
    messages, events   the input of the model; the output of a run
    exceptions         the errors that a client can receive

ARCHITECTURE.md has the complete table.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streaming.calls.agent import Agent as Agent
    from streaming.calls.errors import RunFailed as RunFailed
    from streaming.calls.handle import AgentRun as AgentRun
    from streaming.tools.base import Context as Context
    from streaming.tools.base import ToolError as ToolError
    from streaming.tools.base import tool as tool

__version__ = "0.1.0"

#: The names that an app's `agents.py` imports, each with its module.
_PUBLIC = {
    "Agent": "streaming.calls.agent",
    "AgentRun": "streaming.calls.handle",
    "RunFailed": "streaming.calls.errors",
    "Context": "streaming.tools.base",
    "ToolError": "streaming.tools.base",
    "tool": "streaming.tools.base",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (of any type)
    """Import a public name at its first use: the site's settings need none of them."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
