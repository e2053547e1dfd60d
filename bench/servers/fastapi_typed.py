"""The usual way: FastAPI's StreamingResponse over an SDK's typed stream."""

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from bench.servers.asgi import frame
from bench.servers.typed import deltas

application = FastAPI()


class Question(BaseModel):
    """What a client asks."""

    input: str


async def _events(question: str) -> AsyncIterator[str]:
    async for text in deltas(question):
        yield frame("content", is_final=False, content=text)
    yield frame("done", is_final=True)


@application.post("/api/v1/agent/stream")
async def stream(question: Question) -> StreamingResponse:
    """Ask, and stream what comes."""
    return StreamingResponse(_events(question.input), media_type="text/event-stream")
