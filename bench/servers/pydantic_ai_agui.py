"""Pydantic AI behind FastAPI: an agent whose events its AG-UI adapter streams."""

import os

from fastapi import FastAPI, Request, Response
from pydantic_ai import Agent
from pydantic_ai.ui.ag_ui import AGUIAdapter

from bench.wire import MODEL

PREFIXES = {"chat": "openai-chat", "responses": "openai-responses"}
agent = Agent(f"{PREFIXES.get(os.environ['PROTOCOL'], 'anthropic')}:{MODEL}")
application = FastAPI()


@application.post("/api/v1/agent/stream")
async def stream(request: Request) -> Response:
    """Run the agent, and stream what comes."""
    return await AGUIAdapter.dispatch_request(request, agent=agent)
