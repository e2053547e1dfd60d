"""The OpenAI provider: the SDK sends the request, and the raw response is read."""

import math
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from openai import AsyncOpenAI, OpenAIError

from streaming.providers.base import Delta, ModelRequest
from streaming.providers.http_transport import http_client
from streaming.providers.openai import chat_request, responses_request
from streaming.providers.openai.chat_stream import ChatParser
from streaming.providers.openai.options import OpenAIOptions
from streaming.providers.openai.refusals import KNOWN
from streaming.providers.openai.responses_stream import ResponseParser
from streaming.providers.refusals import Dialect
from streaming.providers.streaming_response import Parser, read_deltas, send_request

# The SDK requires a key, also for a local server that needs none.
_NO_KEY = "none"


class OpenAIProvider:
    """OpenAI's API: Responses at OpenAI itself, Chat Completions at other servers."""

    name = "openai"
    takes_output = True

    def __init__(self, options: OpenAIOptions) -> None:
        self.model = options.model_name
        self._options = options
        self._client = AsyncOpenAI(
            api_key=options.openai_api_key or _NO_KEY,
            base_url=options.openai_base_url or None,
            max_retries=0,
            http_client=http_client(options.llm_connect_timeout_seconds),
        )
        host = f".{self._client.base_url.host}"
        self._at_openai = host.endswith(".api.openai.com")
        default_api = "responses" if self._at_openai else "chat"
        self.api = options.openai_api or default_api
        self.origin = f"{self._client.base_url} {self.api} {self.model}"
        self._dialect = Dialect(KNOWN)

    @property
    def learned(self) -> frozenset[str]:
        """The causes for which this server has refused requests to this model."""
        return self._dialect.learned

    def find_cause(
        self, request: ModelRequest, refusal: str, sent_without: frozenset[str]
    ) -> str | None:
        """Return the cause of a refusal that another request avoids, if it has one."""
        body = self._body(request, sent_without)
        return self._dialect.find(refusal, body, sent_without)

    def learn(self, cause: str) -> None:
        """Build all later requests without a cause."""
        self._dialect.learn(cause)

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Call the model and yield batches of deltas, ending with `ResponseEnd`."""
        body = self._body(request, self._dialect.learned | request.avoid)
        limits = self._options.limits
        path = "/chat/completions"
        parser: Parser = ChatParser(limits)
        if self.api == "responses":
            max_tokens = body.get("max_output_tokens", math.inf)
            path = "/responses"
            parser = ResponseParser(limits, max_tokens)
        send = partial(send_request, self._client, path, body)
        return read_deltas(send, parser, OpenAIError)

    def _body(self, request: ModelRequest, learned: frozenset[str]) -> dict[str, Any]:
        is_responses = self.api == "responses"
        build = responses_request.body if is_responses else chat_request.body
        return build(
            request,
            model=self.model,
            max_tokens=self._options.llm_max_tokens,
            thinking=self._options.llm_thinking,
            at_openai=self._at_openai,
            origin=self.origin,
            learned=learned,
        )

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.close()
