"""How a vendor's failure becomes one of ours: the one place for it.

What a person may read of it is one of our own sentences, never the vendor's words,
which may quote a key or a prompt. Those go to the log, at debug level.
"""

import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from aiohttp.http_exceptions import ContentEncodingError

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)

logger = logging.getLogger(__name__)

UNREADABLE = "The model provider sent an answer that cannot be read."
_UNREACHABLE = "The model provider cannot be reached."
_NO_QUOTA = "The quota or credit at the model provider is used up."
_REFUSED = "The model provider refused the request."
_TOO_LONG = "The conversation is too long for the model."
_OVERLOADED = "The model provider is overloaded."

_SENTENCES = {
    404: "The model provider does not know this model or this address.",
    413: _TOO_LONG,
    503: _OVERLOADED,
    529: _OVERLOADED,
}

#: The words of an error's `type` or `code`, for errors that come without a status.
_STATUS_OF = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "conflict_error": 409,
    "context_length_exceeded": 413,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}

#: Against these no waiting helps.
_QUOTA_WORDS = frozenset(
    {
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "linked_organization_spend_limit_reached",
    }
)


def map_request_error(error: BaseException) -> ProviderError:
    """What an SDK raised instead of answering: a status, or no connection."""
    response = getattr(error, "response", None)
    if isinstance(response, httpx2.Response):
        body = getattr(error, "body", None)
        return status_error(response.status_code, error_fields(body), response.headers)
    root = _root_of(error)
    logger.warning("no answer from the provider: %s", type(root).__name__)
    if isinstance(root, TimeoutError | httpx2.TimeoutException):
        return ProviderTimeout()
    return ProviderError(_UNREACHABLE, retryable=True)


def map_stream_error(error: BaseException) -> ProviderError:
    """What reading a stream raised in its midst."""
    root = _root_of(error)
    logger.warning("the provider's stream broke off: %s", type(root).__name__)
    if isinstance(root, TimeoutError | httpx2.TimeoutException):
        return ProviderTimeout()
    if isinstance(error, ValueError) or isinstance(root, ContentEncodingError):
        return ProviderError(UNREADABLE, retryable=True)
    return ProviderIncomplete()


def error_fields(body: object) -> Mapping[str, Any]:
    """The fields of an error body: those under its `error`, where it has one."""
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def status_error(
    status: int | None,
    fields: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> ProviderError:
    """The error of an HTTP status or, with None for it, one told inside a stream.

    `fields` are the vendor's: `type`, `code`, `message`, whichever it gave.
    """
    words = _words(fields)
    status = status or _status_told(fields, words)
    headers = headers or {}
    request_id = headers.get("request-id") or headers.get("x-request-id") or "unknown"
    logger.warning("provider error: %d %s, request %s", status, words, request_id)
    if status not in (401, 403):
        logger.debug("provider error: %.500s", fields.get("message"))
    if _QUOTA_WORDS.intersection(words):
        return ProviderRateLimited(_NO_QUOTA, retryable=False)
    if status == 400 and _says_too_long(fields, words):
        status = 413
    return _error_of_status(status, headers)


def _error_of_status(status: int, headers: Mapping[str, str]) -> ProviderError:
    retry_after = _retry_after(headers)
    advice = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    if status in (401, 403):
        return ProviderRefusedKey()
    if status == 429:
        return ProviderRateLimited(retryable=advice, retry_after=retry_after)
    if status in (408, 504):
        return ProviderTimeout(retryable=advice, retry_after=retry_after)
    passing = status == 409 or status >= 500
    return ProviderError(
        _SENTENCES.get(status, "" if passing else _REFUSED),
        retryable=passing if advice is None else advice,
        retry_after=retry_after,
    )


def _words(fields: Mapping[str, Any]) -> list[str]:
    details = fields.get("details")
    reason = details.get("error_code") if isinstance(details, Mapping) else None
    told = (fields.get("type"), fields.get("code"), reason)
    return [word for word in told if isinstance(word, str) and len(word) < 100]


def _status_told(fields: Mapping[str, Any], words: list[str]) -> int:
    code = fields.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return next((_STATUS_OF[word] for word in words if word in _STATUS_OF), 500)


def _says_too_long(fields: Mapping[str, Any], words: list[str]) -> bool:
    message = str(fields.get("message"))
    return "context_length_exceeded" in words or "prompt is too long" in message


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from either form of the header or its twin in milliseconds."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            seconds = float(milliseconds) / 1000
        else:
            seconds = _seconds_until(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds_until(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        moment = parsedate_to_datetime(value)
        return (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()


def _root_of(error: BaseException) -> BaseException:
    """The first cause: the SDKs call some refused connections a timeout."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
