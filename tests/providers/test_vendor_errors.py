"""The errors of vendors with forms of their own, and the waits that they ask for."""

import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from streaming.exceptions import (
    ProviderError,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)
from streaming.providers.adaptation import is_policy_refusal
from streaming.providers.errors import error_fields, find_error, status_error
from streaming.providers.waits import retry_after


def error(status: int | None, body: Any, **headers: str) -> ProviderError:  # noqa: ANN401
    text = json.dumps(body, ensure_ascii=False)
    return status_error(status, error_fields(body), headers, text)


def google(reason: str, quota: str, delay: str) -> list[Any]:
    details = [
        {"violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    return [{"error": {"code": 429, "message": reason, "details": details}}]


NO_CREDIT = [
    (400, {"error": {"message": "Your credit balance is too low to access the API."}}),
    (400, {"error": {"code": "Arrearage", "message": "Access denied."}}),
    (403, {"code": "x", "error": "Your team has used all available credits."}),
    (429, {"error": {"code": "1113", "message": "余额不足或无可用资源包"}}),
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "Suspended"}}),
    (429, google("You exceeded your quota", "RequestsPerDayPerProject", "26s")),
    (None, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
]


@pytest.mark.parametrize(("status", "body"), NO_CREDIT)
def test_no_credit_is_not_asked_for_again(status: int | None, body: object) -> None:
    found = error(status, body)
    assert isinstance(found, ProviderRateLimited)
    assert not found.retryable


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
         ProviderRateLimited),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail: Please carry "
          "the API secret key"}}, ProviderRefusedKey),
        ({"error_code": 18, "error_msg": "qps request limit reached"},
         ProviderRateLimited),
        ({"code": "InternalError", "message": "Try later."}, ProviderError),
        ({"code": 20_015, "message": "Bad.", "data": None}, ProviderError),
        ({"errors": [{"code": 5021, "message": "Too many requests"}]},
         ProviderRateLimited),
        ({"detail": {"error": {"message": "Rate limit exceeded"}}},
         ProviderRateLimited),
    ],
)  # fmt: skip
def test_an_error_in_place_of_a_response_is_found(
    body: dict[str, object], kind: type[ProviderError]
) -> None:
    fields = find_error(body)
    assert fields is not None
    assert type(status_error(None, fields)) is kind


@pytest.mark.parametrize(
    "body",
    [
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"code": 0, "message": "ok"},
        {"code": 200, "message": "success"},
        {"code": "x", "message": "y", "choices": [{"delta": {}}]},
        {"message": {"role": "assistant"}},
    ],
)
def test_other_objects_are_no_errors(body: dict[str, object]) -> None:
    assert find_error(body) is None


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "Input flagged by moderation"),
        (400, "DataInspectionFailed: Input data may contain inappropriate content."),
    ],
)
def test_an_objection_to_the_content_is_no_matter_of_the_key(
    status: int, message: str
) -> None:
    assert is_policy_refusal(error(status, {"error": {"message": message}}))
    assert not is_policy_refusal(error(status, {"error": {"message": "Denied"}}))


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (425, ProviderError, True),
        (451, ProviderError, False),
        (498, ProviderError, True),
        (499, ProviderError, True),
        (520, ProviderError, True),
        (522, ProviderTimeout, True),
        (524, ProviderTimeout, True),
    ],
)
def test_statuses_of_proxies(
    status: int, kind: type[ProviderError], retryable: bool
) -> None:
    found = error(status, None)
    assert type(found) is kind
    assert found.retryable is retryable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 5.289s. Visit", 5.289),
        ("Please try again in 94ms.", 0.094),
        ("Please try again in 7m12.5s.", 432.5),
        ("Please retry in 26.660853464s.", 26.660853464),
        ("Retry after 30 seconds.", 30),
        ("Your quota will reset after 2h7m23s.", 7643),
        (json.dumps(google("Quota", "PerMinute", "45.8s")), 45.8),
        ("Please try again later.", None),
        ("Retry with another model: it accepts 8192 tokens.", None),
    ],
)
def test_a_text_states_the_wait(text: str, seconds: float | None) -> None:
    found = retry_after({}, text)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


def test_headers_state_the_wait_before_a_text() -> None:
    text = "Please try again in 5s."
    assert retry_after({"retry-after": "7"}, text) == 7
    assert retry_after({"retry-after-ms": "1500", "retry-after": "7"}, text) == 1.5
    date = formatdate(time.time() + 60, usegmt=True)
    assert retry_after({"retry-after": date}, text) == pytest.approx(60, abs=2)
    assert retry_after({"retry-after": "soon"}, text) is None


@pytest.mark.parametrize(
    ("ends", "expected"),
    [("6m0s", 360), ("7.66s", 7.66), ("30", 30), ("+20", 20), ("+20000", 20)],
)
def test_the_end_of_an_exhausted_limit_is_the_wait(ends: str, expected: float) -> None:
    if ends.startswith("+"):  # milliseconds or seconds since 1970
        ends = str(int((time.time() + 20) * (1 if len(ends) < 5 else 1000)))
    exhausted = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": ends}
    assert retry_after(exhausted, "") == pytest.approx(expected, abs=2)
    assert retry_after({**exhausted, "x-ratelimit-remaining": "3"}, "") is None
