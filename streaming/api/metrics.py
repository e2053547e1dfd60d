"""The metrics, for a scraper that has the token of the settings.

The metrics are those of all organizations: no credential of one of them suffices.
"""

import asyncio
from functools import partial
from hmac import compare_digest

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import conf
from streaming.api.endpoint import public_endpoint
from streaming.exceptions import DatabaseUnavailable, NotFound, Unauthenticated
from streaming.runs.scrapes import scrape
from streaming.storage import database

#: The threads that ask the other processes, and the time for all of a scrape.
LANE, SECONDS = "metrics", 8.0


@public_endpoint("GET", any_host=True)
async def metrics(request: HttpRequest) -> HttpResponseBase:
    """Return the metrics of this machine's processes in the form of Prometheus.

    Raises `NotFound` without a token in the settings, `Unauthenticated` without it in
    the request.
    """
    options = conf.get()
    if not options.metrics_token:
        raise NotFound("There is nothing at this path.")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not compare_digest(
        token.strip().encode(), options.metrics_token.encode()
    ):
        raise Unauthenticated("Authorization: expected `Bearer` and the metrics token.")
    call = partial(scrape, options, request.headers.get("Accept", ""))
    try:
        async with asyncio.timeout(SECONDS):
            body, content_type = await database.default.call_in(LANE, call)
    except (Error, TimeoutError):
        raise DatabaseUnavailable from None
    return HttpResponse(body, content_type=content_type)
