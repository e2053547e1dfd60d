"""The mapping of a vendor's failures to the errors of this project.

Clients read one of this project's own sentences, never the vendor's text, which may
quote a key or a prompt. The vendor's text goes to the log, at debug level.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)
from streaming.providers.context_window import is_above_rate, is_too_long, too_long
from streaming.providers.http_transport import BodyEncodingError
from streaming.providers.refusals import sentences
from streaming.providers.waits import retry_after

logger = logging.getLogger(__name__)

UNREADABLE = "The model provider sent an answer that cannot be read."
NOT_A_STREAM = (
    "The model provider sent a page or a document in place of a stream: check its URL."
)
EMPTY = "The model provider sent an empty response."
_UNREACHABLE = "The model provider cannot be reached."
_NO_QUOTA = "The quota or credit at the model provider is used up."
_REFUSED = "The model provider refused the request."
_OVERLOADED = "The model provider is overloaded."

_MESSAGES = {
    404: "The model provider does not know this model or this address.",
    503: _OVERLOADED,
    529: _OVERLOADED,
}

#: The status for the `type`, `code` or `status` of an error that has no HTTP status.
_STATUS_BY_CODE = {
    "badrequesterror": 400,
    "invalid_argument": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "permission_denied": 403,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found": 404,
    "not_found_error": 404,
    "conflict_error": 409,
    "context_length_exceeded": 413,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "api_error": 500,
    "internal": 500,
    "internal_server_error": 500,
    "server_error": 500,
    "service_unavailable": 503,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "timeout": 504,
    "timeout_error": 504,
    "overloaded": 529,
    "overloaded_error": 529,
}

#: The statuses of a request that the server refuses; some templates fail with 500.
_REFUSAL_STATUSES = frozenset({400, 404, 405, 422, 500, 501})
_LENGTH_STATUSES = _REFUSAL_STATUSES
_TOO_LARGE = 413
#: The last three are Cloudflare's and other proxies'.
_TIMEOUTS = frozenset({408, 504, 522, 524, 598})
#: Statuses below 500 that do not blame the request: 498 is Groq's for a lack of
#: capacity, 499 a gateway's for a request that was cancelled behind it.
_TRANSIENT = frozenset({409, 425, 498, 499})
#: The most characters of an error's body that are searched for a cause.
_MAX_TEXT = 20_000

#: The names of an error's fields; `base_resp` is MiniMax's, `error_msg` Baidu's.
_WRAPPERS = ("error", "errors", "base_resp", "detail")
_TEXTS = ("message", "error", "detail", "msg", "error_msg", "status_msg")
_CODE_FIELDS = ("code", "error_code", "status_code")
_SUCCESS = frozenset({None, 0, 200, "0", "200", "ok", "OK", "success", "Success"})

#: Errors that a retry cannot fix.
_QUOTA_CODES = frozenset(
    {
        "1113",  # of Zhipu
        "arrearage",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "contract_spend_limit_reached",
        "exceeded_current_quota_error",
        "enforced_spend_limit_reached",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_quota",
        "linked_organization_spend_limit_reached",
        "payment_required",
    }
)
_QUOTA_TEXT = re.compile(
    r"insufficient (account )?(balance|credit|fund)|payment required|out of credit|"
    r"credit balance is too low|used all available credits|spending limit|"
    r"余额不足|欠费",
    re.IGNORECASE,
)
#: Google's limits of a day, whose errors ask for a wait of seconds.
_DAILY_QUOTA = re.compile(r"quotaId\W+\w*PerDay")
#: Errors without an HTTP status or a known code, by the words of their messages.
_STATUS_BY_TEXT = (
    (429, re.compile(r"rate.?limit|too many requests|\bqps\b|并发|频率|限流", re.I)),
    (401, re.compile(r"api[ _-]?(secret )?key|unauthorized|login fail", re.I)),
)
_POLICY = re.compile(
    r"content[ _]?(filter|policy|management)|responsible ?ai|content exists risk|"
    r"violat[^.]{0,60}polic|usage polic|flagged|datainspection_?failed|"
    r"data_inspection_failed|moderation",
    re.IGNORECASE,
)
_PAYMENT_REQUIRED = 402
#: The model is unknown, or no longer offered.
_NOT_FOUND = 404


def map_request_error(error: BaseException) -> ProviderError:
    """Map an exception of an SDK's request: an error status, or no connection."""
    response = getattr(error, "response", None)
    if isinstance(response, httpx2.Response):
        body = getattr(error, "body", None)
        fields = error_fields(body)
        return status_error(
            response.status_code, fields, response.headers, response.text
        )
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


def find_error(body: object) -> Mapping[str, Any] | None:
    """Return the fields of an error in place of a response; None if it is none.

    Servers and proxies send errors with status 200, or in the middle of a stream.
    """
    first = next(iter(body), None) if isinstance(body, list) else body
    if not isinstance(first, Mapping):
        return None
    fields = error_fields(first)
    is_error = (
        first.get("error")
        or "error" in (first.get("type"), first.get("object"))
        or first.get("detail")
        or first.get("errors")
        or (
            fields["code"] not in _SUCCESS
            and isinstance(fields["message"], str)
            and not first.get("choices")
        )
    )
    return fields if is_error else None


def error_fields(body: object) -> Mapping[str, Any]:
    """Return the fields of an error body, and before them those of its `error`.

    Google's servers send a list of one error, others a text in place of the fields,
    other names for them, or an object around them.
    """
    if isinstance(body, list):
        body = next(iter(body), None)
    if isinstance(body, str):
        return {"message": body}
    if not isinstance(body, Mapping):
        return {}
    inner = _first(body, _WRAPPERS)
    if isinstance(inner, Mapping | list):
        return {**body, "message": None, **error_fields(inner)}
    text = _first(body, _TEXTS)
    known = {"message": text if isinstance(text, str) else None}
    return {**body, **known, "code": _first(body, _CODE_FIELDS)}


def _first(body: Mapping[str, Any], names: Sequence[str]) -> Any:  # noqa: ANN401
    return next((body[name] for name in names if body.get(name)), None)


def status_error(
    status: int | None,
    fields: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    text: str = "",
    *,
    default: int = 500,
) -> ProviderError:
    """Return the error for an HTTP status, or for an error event if that is None.

    `fields` are the vendor's `type`, `code` and `message`, as far as it sent them;
    `text` is the whole body. Without any that tells the status it is `default`.
    """
    codes = _error_codes(fields)
    status = status or _number(fields) or _told_status(fields, codes) or default
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
    if (
        status == _PAYMENT_REQUIRED
        or _QUOTA_CODES.intersection(codes)
        or _QUOTA_TEXT.search(str(fields.get("message")))
        or _DAILY_QUOTA.search(text)
    ):
        return ProviderRateLimited(_NO_QUOTA, retryable=False)
    text = (text or _as_text(fields))[:_MAX_TEXT]
    is_length = status in _LENGTH_STATUSES and is_too_long(text, codes)
    if is_length or status == _TOO_LARGE or (status == 429 and is_above_rate(text)):
        return too_long(text)
    error = _error_for_status(status, headers, retry_after(headers, text))
    if status in _REFUSAL_STATUSES or (status == 403 and is_about_policy(text)):
        error.refusal = text
    return error


def _as_text(fields: Mapping[str, Any]) -> str:
    """Return fields as JSON. Lone surrogates, which UTF-8 cannot hold, become "?"."""
    text = json.dumps(fields, ensure_ascii=False, default=str)
    return text.encode(errors="replace").decode()


def is_about_policy(text: str) -> bool:
    """Return True if an error's text objects to the content of a request."""
    return bool(_POLICY.search(sentences(text)))


def _error_for_status(
    status: int, headers: Mapping[str, str], wait: float | None
) -> ProviderError:
    should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    if status in (401, 403):
        return ProviderRefusedKey()
    if status == 429:
        return ProviderRateLimited(retryable=should_retry, retry_after=wait)
    if status in _TIMEOUTS:
        return ProviderTimeout(retryable=should_retry, retry_after=wait)
    is_transient = status in _TRANSIENT or status >= 500
    error = ProviderError(
        _MESSAGES.get(status, "" if is_transient else _REFUSED),
        retryable=is_transient if should_retry is None else should_retry,
        retry_after=wait,
    )
    error.unavailable = is_transient or status == _NOT_FOUND
    return error


def _told_status(fields: Mapping[str, Any], codes: Sequence[str]) -> int | None:
    """Return the status that the codes or the message of an error tell."""
    known = [_STATUS_BY_CODE[code] for code in codes if code in _STATUS_BY_CODE]
    message = str(fields.get("message"))
    told = [status for status, words in _STATUS_BY_TEXT if words.search(message)]
    return next(iter([*known, *told]), None)


def _error_codes(fields: Mapping[str, Any]) -> list[str]:
    details = fields.get("details")
    reason = details.get("error_code") if isinstance(details, Mapping) else None
    names = (fields.get("type"), fields.get("code"), fields.get("status"), reason)
    return [name.lower() for name in names if isinstance(name, str) and len(name) < 100]


def _number(fields: Mapping[str, Any]) -> int | None:
    """Return the HTTP status that an error names as its code, also as text."""
    for name in ("code", "status", "status_code"):
        number = fields.get(name)
        if isinstance(number, str) and number.isdecimal():
            number = int(number[:9])
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return None


def _root_of(error: BaseException) -> BaseException:
    """Return the first cause: the SDKs call some refused connections a timeout."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
