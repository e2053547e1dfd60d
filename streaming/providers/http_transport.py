"""The HTTP connections to a provider: aiohttp's, under the httpx2 client of the SDKs.

The SDKs include such a transport too. Theirs returns at most 16 kB at a time, passes
through half a dozen generators, and sets a timer for each read; `RetryingProvider`
already has one.
"""

from collections.abc import AsyncGenerator, Callable
from functools import cache, lru_cache, partial
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import ContentEncodingError
from multidict import istr

#: Seconds that an idle connection is kept for the next iteration of a tool loop.
KEEP_ALIVE_SECONDS = 30.0

#: Bytes of an error response's body that are read.
MAX_ERROR_BYTES = 256 * 1024

#: The root cause when a body is not in the content encoding that its head names.
BodyEncodingError = ContentEncodingError

#: The key of the aiohttp response among the extensions of an httpx2 response.
_EXTENSION = "streaming.aiohttp_response"

#: Returns one SSL context for all providers: to make one takes 40 ms.
_ssl_context = cache(httpx2.create_ssl_context)


def http_client(connect_timeout: float) -> httpx2.AsyncClient:
    """Return an HTTP client for an SDK. Only connecting has a timeout, in seconds."""
    return httpx2.AsyncClient(
        transport=_Transport(),
        timeout=httpx2.Timeout(None, connect=connect_timeout),
        # Responses arrive in small pieces, which are not worth compressing.
        headers={"Accept-Encoding": "identity"},
    )


def aiohttp_response(response: httpx2.Response) -> aiohttp.ClientResponse:
    """Return the aiohttp response that an httpx2 response was made from."""
    inner: aiohttp.ClientResponse = response.extensions[_EXTENSION]
    return inner


@lru_cache(256)
def _header(name: bytes, value: bytes) -> tuple[istr, str]:
    """Return a header as aiohttp takes it, the same objects each time.

    Requests have nearly the same headers, and aiohttp keeps them while the response
    lasts: one copy of each is enough.
    """
    return istr(name.decode()), value.decode()


class _Transport(httpx2.AsyncBaseTransport):
    """A transport without a limit of connections; other modules limit the runs."""

    def __init__(self) -> None:
        self._ssl = _ssl_context()
        self._proxies = getproxies()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; return the response as soon as its head has arrived.

        Raises the exceptions of aiohttp.
        """
        inner = await self._open_session().request(
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
        # aiohttp has decoded the body already.
        headers = [h for h in inner.raw_headers if h[0].lower() != b"content-encoding"]
        return httpx2.Response(
            inner.status,
            headers=headers,
            stream=_ErrorBody(inner),
            extensions={_EXTENSION: inner},
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """Return the session, made at first use: it belongs to the event loop."""
        if self._session is None:
            connector = _Connector(
                limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=self._ssl
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _proxy(self, url: httpx2.URL) -> str | None:
        """Return the proxy that the environment names for an address."""
        if not self._proxies or proxy_bypass(url.host):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")


class _Connection(ResponseHandler):
    """A connection that resumes reading only if reading was paused.

    aiohttp resumes after each chunk of a response and each time calls its parser with
    no data, which takes as long as everything else for the bytes of one delta.
    """

    __slots__ = ()

    def resume_reading(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if self._reading_paused:
            super().resume_reading(*args, **kwargs)


class _Connector(aiohttp.TCPConnector):
    """A connector that makes `_Connection`s, for which aiohttp has no public option."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        make: Callable[..., ResponseHandler] = _Connection
        self._factory = partial(make, loop=self._loop)


class _ErrorBody(httpx2.AsyncByteStream):
    """A body that httpx2 reads, which is done for error responses only."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        left = MAX_ERROR_BYTES
        while left > 0 and (data := await self._response.content.readany()):
            yield data[:left]
            left -= len(data)

    async def aclose(self) -> None:
        """Return the connection to the pool if the body has ended, else close it."""
        self._response.close()
