"""The mapping of a vendor's failures to the errors of this project.

Clients read one of this project's own sentences, never the vendor's text, which may
quote a key or a prompt. The vendor's text goes to the log, at debug level.
"""

import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)
from streaming.providers.http_transport import BodyEncodingError

logger = logging.getLogger(__name__)

UNREADABLE = "The model provider sent an answer that cannot be read."
_UNREACHABLE = "The model provider cannot be reached."
_NO_QUOTA = "The quota or credit at the model provider is used up."
_REFUSED = "The model provider refused the request."
_TOO_LONG = "The conversation is too long for the model."
_OVERLOADED = "The model provider is overloaded."

_MESSAGES = {
    404: "The model provider does not know this model or this address.",
    413: _TOO_LONG,
    503: _OVERLOADED,
    529: _OVERLOADED,
}

#: The status for the `type` or `code` of an error that has no status of its own.
_STATUS_BY_CODE = {
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

#: Errors that a retry cannot fix.
_QUOTA_CODES = frozenset(
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
    """Map an exception of an SDK's request: an error status, or no connection."""
    response = getattr(error, "response", None)
    if isinstance(response, httpx2.Response):
        body = getattr(error, "body", None)
        return status_error(response.status_code, error_fields(body), response.headers)
    root = _root_of(error)
    logger.warning("provider request failed: %s", type(root).__name__)
    if isinstance(root, TimeoutError | httpx2.TimeoutException):
        return ProviderTimeout()
    return ProviderError(_UNREACHABLE, retryable=True)


def map_stream_error(error: BaseException) -> ProviderError:
    """Map an exception that was raised while a response was read."""
    root = _root_of(error)
    logger.warning("provider stream interrupted: %s", type(root).__name__)
    if isinstance(root, TimeoutError | httpx2.TimeoutException):
        return ProviderTimeout()
    if isinstance(error, ValueError) or isinstance(root, BodyEncodingError):
        return ProviderError(UNREADABLE, retryable=True)
    return ProviderIncomplete()


def error_fields(body: object) -> Mapping[str, Any]:
    """Return the fields of an error body: those of its `error` if it has one."""
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def status_error(
    status: int | None,
    fields: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> ProviderError:
    """Return the error for an HTTP status, or for an error event if that is None.

    `fields` are the vendor's `type`, `code` and `message`, as far as it sent them.
    """
    codes = _error_codes(fields)
    status = status or _infer_status(fields, codes)
    headers = headers or {}
    request_id = headers.get("request-id") or headers.get("x-request-id") or "unknown"
    logger.warning(
        "provider error received: status %d, codes %s, request %s",
        status,
        codes,
        request_id,
    )
    if status not in (401, 403):
        logger.debug("provider error text: %.500s", fields.get("message"))
    if _QUOTA_CODES.intersection(codes):
        return ProviderRateLimited(_NO_QUOTA, retryable=False)
    if status == 400 and (
        "context_length_exceeded" in codes
        or "prompt is too long" in str(fields.get("message"))
    ):
        status = 413
    return _error_for_status(status, headers)


def _error_for_status(status: int, headers: Mapping[str, str]) -> ProviderError:
    retry_after = _retry_after(headers)
    should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    if status in (401, 403):
        return ProviderRefusedKey()
    if status == 429:
        return ProviderRateLimited(retryable=should_retry, retry_after=retry_after)
    if status in (408, 504):
        return ProviderTimeout(retryable=should_retry, retry_after=retry_after)
    is_transient = status == 409 or status >= 500
    return ProviderError(
        _MESSAGES.get(status, "" if is_transient else _REFUSED),
        retryable=is_transient if should_retry is None else should_retry,
        retry_after=retry_after,
    )


def _error_codes(fields: Mapping[str, Any]) -> list[str]:
    details = fields.get("details")
    reason = details.get("error_code") if isinstance(details, Mapping) else None
    candidates = (fields.get("type"), fields.get("code"), reason)
    return [code for code in candidates if isinstance(code, str) and len(code) < 100]


def _infer_status(fields: Mapping[str, Any], codes: list[str]) -> int:
    number = fields.get("code")
    if isinstance(number, int) and 400 <= number < 600:
        return number
    known = (_STATUS_BY_CODE[code] for code in codes if code in _STATUS_BY_CODE)
    return next(known, 500)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, from `retry-after` or `retry-after-ms`."""
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
    """Return the first cause: the SDKs call some refused connections a timeout."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
