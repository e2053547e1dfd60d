"""The connections to a provider: aiohttp's, under the SDKs' client of httpx2.

The SDKs include such a transport too. Theirs returns at most 16 kB at a time, through
half a dozen generators, and sets a timer for each read; `RetryingProvider` has one.
"""

from collections.abc import AsyncGenerator, Callable
from functools import lru_cache, partial
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from multidict import istr

#: Seconds that a connection is kept for the next iteration of a tool loop.
KEEP_ALIVE_SECONDS = 30.0


# A request's headers, which are nearly the same each time, are kept by aiohttp while
# the answer lasts: one of each is enough.
@lru_cache(256)
def _header(name: bytes, value: bytes) -> tuple[istr, str]:
    return istr(name.decode()), value.decode()


#: Where aiohttp's answer stands among the extensions of its response.
_ANSWER = "streaming.answer"


def http_client(connect_timeout: float) -> httpx2.AsyncClient:
    """An HTTP client for an SDK. Once connected, it waits as long as it is let."""
    return httpx2.AsyncClient(
        transport=_Transport(),
        timeout=httpx2.Timeout(None, connect=connect_timeout),
        # What is sent bit by bit is not worth compressing.
        headers={"Accept-Encoding": "identity"},
    )


def aiohttp_response(response: httpx2.Response) -> aiohttp.ClientResponse:
    """The answer under a response of ours."""
    answer: aiohttp.ClientResponse = response.extensions[_ANSWER]
    return answer


class _Transport(httpx2.AsyncBaseTransport):
    """A connection for each request; how many there are is limited elsewhere."""

    def __init__(self) -> None:
        self._ssl = httpx2.create_ssl_context()
        self._proxies = getproxies()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; its answer as soon as its head is there.

        Raises what aiohttp raises.
        """
        answer = await self._open_session().request(
            request.method,
            str(request.url),
            headers=[_header(*each) for each in request.headers.raw],
            data=request.content,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=request.extensions["timeout"]["connect"]
            ),
            proxy=self._proxy(request.url),
        )
        # Whatever encoding it came in, aiohttp has undone it.
        headers = [h for h in answer.raw_headers if h[0].lower() != b"content-encoding"]
        return httpx2.Response(
            answer.status,
            headers=headers,
            stream=_Body(answer),
            extensions={_ANSWER: answer},
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """The session, made at first use: it belongs to the running event loop."""
        if self._session is None:
            connector = _Connector(
                limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=self._ssl
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _proxy(self, url: httpx2.URL) -> str | None:
        """The proxy that the environment names for an address."""
        if not self._proxies or proxy_bypass(url.host):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")


class _Connection(ResponseHandler):
    """Resumes reading when it was paused, and not after each chunk of an answer.

    That calls the parser in vain, which takes as long as all else for a delta's bytes.
    """

    __slots__ = ()

    def resume_reading(self, *how: Any, **more: Any) -> None:  # noqa: ANN401
        if self._reading_paused:
            super().resume_reading(*how, **more)


class _Connector(aiohttp.TCPConnector):
    """Makes connections of ours. Aiohttp has no public way to say so."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        make: Callable[..., ResponseHandler] = _Connection
        self._factory = partial(make, loop=self._loop)


class _Body(httpx2.AsyncByteStream):
    """A body as httpx2 reads it, where it does: that of an error."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        while data := await self._answer.content.readany():
            yield data

    async def aclose(self) -> None:
        """Give the connection back when the body has ended, else close it."""
        self._answer.close()
