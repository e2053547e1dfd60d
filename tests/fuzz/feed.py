"""A provider that reads given bytes with the parsers of the real ones, without HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping

from streaming.providers.anthropic.stream import MessageParser
from streaming.providers.base import Delta, ModelRequest, ProviderOptions
from streaming.providers.limits import ResponseLimits
from streaming.providers.openai.chat_stream import ChatParser
from streaming.providers.openai.responses_stream import ResponseParser
from streaming.providers.retry import RetryingProvider
from streaming.providers.streaming_response import Parser, read_deltas
from tests.fuzz.streams import Api

PARSERS: Mapping[Api, Callable[[ResponseLimits], Parser]] = {
    "chat": ChatParser,
    "responses": ResponseParser,
    "messages": MessageParser,
}


class FedResponse:
    """A response whose body arrives in the given pieces, which may have no end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._ended = False
        self.content = self

    async def readany(self) -> bytes:
        await asyncio.sleep(0)
        piece = next(self._pieces, b"")
        self._ended = not piece
        return piece

    def at_eof(self) -> bool:
        return self._ended

    def close(self) -> None:
        self._ended = True
        self._pieces = iter(())


class FedProvider:
    """A provider of one API whose responses are the given ones, in turn."""

    name = "fed"
    model = "test-model"

    def __init__(
        self, api: Api, responses: Iterator[Iterable[bytes]], limits: ResponseLimits
    ) -> None:
        self._api = api
        self._responses = responses
        self._limits = limits

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        async def send() -> FedResponse:
            return FedResponse(next(self._responses))

        return read_deltas(send, PARSERS[self._api](self._limits), OSError)

    async def aclose(self) -> None:
        """Close nothing."""


def fed_provider(
    api: Api, responses: Iterable[Iterable[bytes]], options: ProviderOptions
) -> RetryingProvider:
    """Return such a provider with timeouts and retries."""
    return RetryingProvider(FedProvider(api, iter(responses), options.limits), options)
