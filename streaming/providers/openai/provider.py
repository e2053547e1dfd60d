"""OpenAI's way to a model: the SDK sends the request, the raw answer is read here."""

from collections.abc import AsyncGenerator
from functools import partial

from openai import AsyncOpenAI, OpenAIError

from streaming.providers.base import Delta, ModelRequest, ProviderOptions
from streaming.providers.http_transport import http_client
from streaming.providers.openai import chat_request, responses_request
from streaming.providers.openai.chat_stream import ChatParser
from streaming.providers.openai.models import DEFAULT_MODEL
from streaming.providers.openai.responses_stream import ResponseParser
from streaming.providers.streaming_response import read_deltas, send_request

# The SDK insists on a key; a server of one's own needs none.
_NO_KEY = "none"


class OpenAIProvider:
    """Responses against OpenAI itself, Chat Completions elsewhere."""

    name = "openai"

    def __init__(self, options: ProviderOptions) -> None:
        self.model = options.model or DEFAULT_MODEL
        self._options = options
        self._client = AsyncOpenAI(
            api_key=options.api_key or _NO_KEY,
            base_url=options.base_url or None,
            max_retries=0,
            http_client=http_client(options.connect_timeout),
        )
        host = f".{self._client.base_url.host}"
        self._at_openai = host.endswith(".api.openai.com")
        usual = "responses" if self._at_openai else "chat"
        self.api = options.openai_api or usual

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Call the model and yield batches of deltas, ending with `ResponseEnd`."""
        is_responses = self.api == "responses"
        build = responses_request.body if is_responses else chat_request.body
        body = build(
            request,
            model=self.model,
            max_tokens=self._options.max_tokens,
            thinking=self._options.thinking,
            at_openai=self._at_openai,
        )
        path = "/responses" if is_responses else "/chat/completions"
        parser = ResponseParser() if is_responses else ChatParser()
        opening = partial(send_request, self._client, path, body)
        return read_deltas(opening, parser, OpenAIError)

    async def aclose(self) -> None:
        """Close the connections that are kept for reuse."""
        await self._client.close()
