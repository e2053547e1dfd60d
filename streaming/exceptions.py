"""The errors that clients receive: each has a code, a status and a sentence.

* AgentError
  x InvalidJson                400  invalid_json
  x InvalidRequest             400  invalid_request (with the fields at fault)
  x Unauthenticated            401  unauthenticated
  x Forbidden                  403  forbidden
  x NotFound                   404  not_found
  x MethodNotAllowed           405  method_not_allowed
  x RequestTimeout             408  request_timeout
  x BodyTooLarge               413  body_too_large
  x UnsupportedMediaType       415  unsupported_media_type
  x ConversationBusy           409  conversation_busy (with the run to join)
  x IdempotencyConflict        409  idempotency_conflict
  x NotPending                 409  not_pending
  x QueueChanged               409  queue_changed
  x RunEnded                   409  run_ended
  x RunPending                 409  run_pending
  x AgentRemoved               410  agent_removed
  x HeadTooLarge               431  head_too_large
  x RateLimited                429  rate_limited
  x BudgetExhausted            429  budget_exhausted
  x TooManyStreams             429  too_many_streams
  x InternalError              500  internal_error
  x StreamingUnsupported       501  streaming_unsupported
  x DatabaseUnavailable        503  database_unavailable
  x ShuttingDown               503  shutting_down
  x Interrupted                503  interrupted
  x InvalidOutput              502  invalid_output
  * ProviderError              502  provider_error
    x ProviderRateLimited      502  provider_rate_limited
    x ProviderRefusedKey       502  provider_refused_key
    x ProviderIncomplete       502  provider_incomplete
    x ProviderTimeout          504  provider_timeout
    x ContextTooLong           400  context_too_long

The docstring of a class, or the inherited one, is its default message. An error is
`retryable` if the same request may succeed later; `retry_after` is in seconds.
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import ClassVar

from streaming.error_details import MAX_DETAILS, MAX_FIELD_CHARS, shortened
from streaming.error_details import FieldError as FieldError
from streaming.error_details import Rate as Rate


class AgentError(Exception):
    """Something went wrong."""

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: bool = False

    def __init__(
        self,
        message: str = "",
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message or inspect.getdoc(type(self)) or self.code
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable
        super().__init__(self.message)


class InvalidJson(AgentError):
    """The body is not valid JSON."""

    code = "invalid_json"
    status = 400


class InvalidRequest(AgentError):
    """The request is not valid."""

    code = "invalid_request"
    status = 400

    def __init__(self, details: Sequence[FieldError]) -> None:
        self.details = [detail.shortened() for detail in details[:MAX_DETAILS]]
        sentence = "; ".join(f"{d.field}: {d.message}" for d in self.details)
        if len(details) > MAX_DETAILS:
            sentence += f"; and {len(details) - MAX_DETAILS} more"
        super().__init__(sentence)


class Unauthenticated(AgentError):
    """This request needs valid credentials."""

    code = "unauthenticated"
    status = 401


class Forbidden(AgentError):
    """This request is not allowed."""

    code = "forbidden"
    status = 403


class NotFound(AgentError):
    """There is no such resource."""

    code = "not_found"
    status = 404


class MethodNotAllowed(AgentError):
    """This method is not allowed here."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        self.allowed = allowed
        used = shortened(method, MAX_FIELD_CHARS)
        super().__init__(f"{used} is not allowed here, use {' or '.join(allowed)}.")


class RequestTimeout(AgentError):
    """The request did not arrive in time."""

    code = "request_timeout"
    status = 408
    retryable = True


class BodyTooLarge(AgentError):
    """The body is too large."""

    code = "body_too_large"
    status = 413


class UnsupportedMediaType(AgentError):
    """The body must be sent as Content-Type: application/json."""

    code = "unsupported_media_type"
    status = 415


class ConversationBusy(AgentError):
    """This conversation has an active run: join it, cancel it, or wait for its end."""

    code = "conversation_busy"
    status = 409
    retryable = True

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__()


class AgentRemoved(AgentError):
    """The agent of this run no longer exists on this server."""

    code = "agent_removed"
    status = 410


class IdempotencyConflict(AgentError):
    """This Idempotency-Key was used with another body."""

    code = "idempotency_conflict"
    status = 409


class NotPending(AgentError):
    """This run has started or ended: its input can no longer be changed."""

    code = "not_pending"
    status = 409


class QueueChanged(AgentError):
    """The queue has changed: read it again, and name each pending run once."""

    code = "queue_changed"
    status = 409


class RunEnded(AgentError):
    """This run has ended or is being cancelled: it takes no more texts."""

    code = "run_ended"
    status = 409


class RunPending(AgentError):
    """This run is pending and takes no texts yet: change its input instead."""

    code = "run_pending"
    status = 409


class HeadTooLarge(AgentError):
    """The head of the request (its URL and headers) is too large."""

    code = "head_too_large"
    status = 431


class RateLimited(AgentError):
    """This organization has reached its limit of active runs; try again later."""

    code = "rate_limited"
    status = 429
    retryable = True
    #: The limit of runs in a minute, if it is the one that was reached.
    rate: Rate | None = None


class BudgetExhausted(AgentError):
    """The budget is used up; try again when its period has ended."""

    code = "budget_exhausted"
    status = 429
    retryable = True


class TooManyStreams(AgentError):
    """This server has reached its limit of open streams; try again later."""

    code = "too_many_streams"
    status = 429
    retryable = True


class InternalError(AgentError):
    """Something went wrong on the server."""

    code = "internal_error"
    status = 500


class StreamingUnsupported(AgentError):
    """This server is a WSGI server, which cannot stream: POST /run works here."""

    code = "streaming_unsupported"
    status = 501


class DatabaseUnavailable(AgentError):
    """The database does not answer."""

    code = "database_unavailable"
    status = 503
    retryable = True


class ShuttingDown(AgentError):
    """The server is shutting down."""

    code = "shutting_down"
    status = 503
    retryable = True


class Interrupted(AgentError):
    """The server that executed this run failed before the run ended."""

    code = "interrupted"
    status = 503
    retryable = True


class InvalidOutput(AgentError):
    """The model's answer does not have the required form."""

    code = "invalid_output"
    status = 502
    retryable = True


class ProviderError(AgentError):
    """The model provider failed."""

    code = "provider_error"
    status = 502
    #: The provider's text if it refused the request; it is never shown to a client.
    refusal: str = ""
    #: True if the model had begun its output.
    has_output: bool = False
    #: True if the fault is not in the request: another model may answer it.
    unavailable: bool = False


class ProviderRateLimited(ProviderError):
    """The model provider is limiting our requests."""

    code = "provider_rate_limited"
    retryable = True
    unavailable = True


class ProviderRefusedKey(ProviderError):
    """The model provider refused the API key."""

    code = "provider_refused_key"
    unavailable = True


class ProviderIncomplete(ProviderError):
    """The model provider's stream ended before it was complete."""

    code = "provider_incomplete"
    retryable = True


class ProviderTimeout(ProviderError):
    """The model provider did not answer in time."""

    code = "provider_timeout"
    status = 504
    retryable = True
    unavailable = True


class ContextTooLong(ProviderError):
    """The conversation is too long for the model."""

    code = "context_too_long"
    status = 400


def from_code(code: str, message: str) -> AgentError:
    """Return the error that was stored as a code and a message."""
    return _BY_CODE.get(code, InternalError)(message)


def _all_kinds(kind: type[AgentError]) -> Iterator[type[AgentError]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _all_kinds(sub)


_BY_CODE = {kind.code: kind for kind in _all_kinds(AgentError)}
