"""The parts of ASGI servers for which ASGI has no message.

An application learns from ASGI that its server shuts down only after all connections
have ended, and it cannot drop a connection. uvicorn and hypercorn both pass methods of
their own objects as `send`, through which these parts are found. For other servers each
function here returns nothing, and the application works without the part.
"""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from uvicorn import Config

#: Interval at which workers of hypercorn look at the event of their parent process.
LOOK_SECONDS = 0.1
#: Interval between two reports to gunicorn, whose `--timeout` is in whole seconds.
NOTIFY_SECONDS = 0.4


def transport_of(send: object) -> asyncio.WriteTransport | None:
    """Return the transport of the connection behind the `send` of a request."""
    request = _owner(send)
    if hasattr(request, "transport"):  # uvicorn's
        return request.transport  # type: ignore[no-any-return]
    connection = _owner(getattr(_hypercorn_protocol(send), "send", None))
    return getattr(getattr(connection, "writer", None), "transport", None)


def reset_stream(send: object) -> bool:
    """Reset the stream of an HTTP/2 request; return false if this is impossible.

    Its unsent data is dropped. hypercorn would leave the stream without an end, and
    the client would wait for it.
    """
    http2 = getattr(_hypercorn_protocol(send), "connection", None)
    transport = transport_of(send)
    if not http2 or not transport:
        return False
    http2.reset_stream(_owner(send).stream_id)
    transport.write(http2.data_to_send())
    return True


def termination_of(send: object) -> Callable[[], Awaitable[object]] | None:
    """Return a function that waits until hypercorn begins to shut the process down.

    Its workers receive no signal: the parent process sets an event, and a worker that
    has served `--max-requests` ends by itself.
    """
    context = getattr(_owner(send), "context", None)
    return getattr(getattr(context, "terminated", None), "wait", None)


def termination_by_parent() -> Callable[[], Awaitable[object]] | None:
    """Return a function that waits until hypercorn's parent process ends this worker.

    For an application that does not see the `send` of its server, and not for a worker
    that ends by itself.
    """
    worker = multiprocessing.current_process()
    event = getattr(worker, "_kwargs", {}).get("shutdown_event")
    is_set: Callable[[], bool] | None = getattr(event, "is_set", None)
    if is_set is None:
        return None

    async def wait() -> None:
        while not is_set():  # noqa: ASYNC110  (an event of processes, as hypercorn waits)
            await asyncio.sleep(LOOK_SECONDS)

    return wait


def uvicorn_config(send: object) -> Config | None:
    """Return uvicorn's configuration behind the `send` of the lifespan."""
    config = getattr(_owner(send), "config", None)
    return config if isinstance(config, Config) else None


async def report_alive(config: Config) -> None:
    """Report to gunicorn that this process is alive, until cancelled.

    uvicorn stops these reports when it begins to shut down, and gunicorn kills a worker
    that has not reported for its `--timeout`.
    """
    while config.callback_notify:
        await config.callback_notify()
        await asyncio.sleep(NOTIFY_SECONDS)  # gunicorn reads the time of the last one


def is_daphne(send: object) -> bool:
    """Return whether the server is daphne."""
    return type(_owner(send)).__module__.startswith("daphne.")


def _hypercorn_protocol(send: object) -> Any:  # noqa: ANN401  (hypercorn's)
    return _owner(getattr(_owner(send), "send", None))


def _owner(method: object) -> Any:  # noqa: ANN401  (any server's)
    """Return the object to which a method is bound, None for another function."""
    if isinstance(method, partial):
        method = method.func
    return getattr(method, "__self__", None)
