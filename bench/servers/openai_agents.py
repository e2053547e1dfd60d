"""OpenAI's Agents SDK behind FastAPI: the text of its raw response events."""

import os
from collections.abc import AsyncIterator

from agents import Agent, Runner, set_default_openai_api, set_tracing_disabled
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

from bench.servers.asgi import frame
from bench.wire import MODEL

set_tracing_disabled(True)  # it would send traces to OpenAI
if os.environ["PROTOCOL"] == "chat":
    set_default_openai_api("chat_completions")
agent = Agent(name="Agent", instructions="You are a helpful agent.", model=MODEL)
application = FastAPI()


class Question(BaseModel):
    """What a client asks."""

    input: str


async def _events(question: str) -> AsyncIterator[str]:
    result = Runner.run_streamed(agent, input=question)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(
            event.data, ResponseTextDeltaEvent
        ):
            yield frame("content", is_final=False, content=event.data.delta)
    yield frame("done", is_final=True)


@application.post("/api/v1/agent/stream")
async def stream(question: Question) -> StreamingResponse:
    """Run the agent, and stream what comes."""
    return StreamingResponse(_events(question.input), media_type="text/event-stream")
