"""The usual way: a StreamingResponse over the SDK's typed stream; nothing is kept."""

import json
import os
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

application = FastAPI()
client = AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key="none")


class Question(BaseModel):
    """What a client asks."""

    input: str


def _frame(event: str, **fields: object) -> str:
    data = {"type": event, "timestamp": int(time.time() * 1000), **fields}
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


async def _answer(question: str) -> AsyncIterator[str]:
    stream = await client.chat.completions.create(
        model="bench",
        messages=[{"role": "user", "content": question}],
        stream=True,
    )
    async for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield _frame("content", is_final=False, content=text)
    yield _frame("done", is_final=True)


@application.post("/api/v1/agent/stream")
async def stream(question: Question) -> StreamingResponse:
    """Ask, and stream what comes."""
    return StreamingResponse(_answer(question.input), media_type="text/event-stream")
