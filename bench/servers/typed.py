"""The SDKs' typed streams, as their documentation has them: the text of each delta."""

import os
from collections.abc import AsyncIterator, Callable
from functools import cache

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from bench.wire import MODEL

_openai = cache(AsyncOpenAI)
_anthropic = cache(AsyncAnthropic)


async def _chat(question: str) -> AsyncIterator[str]:
    stream = await _openai().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield text


async def _responses(question: str) -> AsyncIterator[str]:
    stream = await _openai().responses.create(model=MODEL, input=question, stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            yield event.delta


async def _messages(question: str) -> AsyncIterator[str]:
    stream = await _anthropic().messages.create(
        model=MODEL,
        max_tokens=8192,
        messages=[{"role": "user", "content": question}],
        stream=True,
    )
    async for event in stream:
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            yield event.delta.text


PROTOCOLS: dict[str, Callable[[str], AsyncIterator[str]]] = {
    "chat": _chat,
    "responses": _responses,
    "anthropic": _messages,
}
#: The text of each delta of the answer to a question.
deltas = PROTOCOLS[os.environ["PROTOCOL"]]
