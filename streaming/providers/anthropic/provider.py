"""The Anthropic provider: the SDK sends the request, and the raw response is read."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from anthropic import AnthropicError, AsyncAnthropic

from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.anthropic.refusals import KNOWN, REQUIRED
from streaming.providers.anthropic.request import build
from streaming.providers.anthropic.stream import MessageParser
from streaming.providers.base import Delta, ModelRequest
from streaming.providers.http_transport import http_client
from streaming.providers.refusals import Dialect
from streaming.providers.streaming_response import read_deltas, send_request


class AnthropicProvider:
    """The Messages API, with one client and its pool of connections for all runs."""

    name = "anthropic"
    takes_output = True

    def __init__(self, options: AnthropicOptions) -> None:
        self.model = options.model_name
        self._options = options
        self._client = AsyncAnthropic(
            api_key=options.anthropic_api_key or None,
            base_url=options.anthropic_base_url or None,
            max_retries=0,
            http_client=http_client(options.llm_connect_timeout_seconds),
        )
        self.origin = f"{self._client.base_url} messages {self.model}"
        self._dialect = Dialect(KNOWN, REQUIRED)

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
        headers = body.pop("extra_headers", None)
        send = partial(send_request, self._client, "/v1/messages", body, headers)
        parser = MessageParser(self._options.limits)
        return read_deltas(send, parser, AnthropicError)

    def _body(self, request: ModelRequest, learned: frozenset[str]) -> dict[str, Any]:
        return build(
            request,
            model=self.model,
            options=self._options,
            origin=self.origin,
            learned=learned,
        )

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.close()
