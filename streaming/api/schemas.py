"""The input of endpoints: bodies, query strings and headers, validated and typed."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from django.http import HttpRequest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from streaming import conf
from streaming.agents import registry
from streaming.agents.declaration import MAX_ITERATIONS, Agent
from streaming.auth.requests import announced_size
from streaming.events import EventType
from streaming.exceptions import (
    FieldError,
    InvalidJson,
    InvalidRequest,
    UnsupportedMediaType,
)
from streaming.principals import Principal
from streaming.runs import RunRequest
from streaming.server.body import too_large
from streaming.wire.sse import BOM

MAX_IDEMPOTENCY_KEY = 255
MAX_EVENT_NUMBER = 2**31 - 1
MAX_SEARCH = 200
#: More than there are types: a list may name one twice.
MAX_EVENT_TYPES = 100
MAX_CONTEXT_ENTRIES = 100
MAX_ORDER = 10_000
MAX_MESSAGE_ID = 2**63 - 1
#: Default of a conversation's `limit`, which the settings bound.
MAX_LIMIT = 2**31 - 1

Q = TypeVar("Q", bound=BaseModel)

#: The default of a field that must be given under a condition.
_OMITTED: Any = object()


def printable(value: str) -> str:
    """Return a text all of whose characters are printable."""
    if not value.isprintable():
        raise PydanticCustomError("notprintable", "must be printable characters only")
    return value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul", "must not contain NUL characters")
    return value


def _prompt(value: str) -> str:
    limit = conf.get().agent_max_input_chars
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank")
    if len(value) > limit:
        message = "must have at most {limit} characters"
        raise PydanticCustomError("too_long", message, {"limit": limit})
    return value


def _only_question(
    value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> object:
    """Require an input, unless the question of an earlier run is answered again."""
    is_given = value is not _OMITTED
    if not info.data.get("regenerate"):
        if is_given:
            return validate(value)
        raise PydanticCustomError("missing", "Field required")
    if is_given:
        raise PydanticCustomError("given", "must be omitted with regenerate")
    return ""


def _only_place(value: int | None, info: ValidationInfo) -> int | None:
    if info.data.get("regenerate"):
        raise PydanticCustomError("given", "must be omitted with regenerate")
    return value


def _bounded_context(value: object) -> object:
    """Refuse a large context before each of its entries is validated.

    Each invalid entry makes an error: 200,000 of them would block the process.
    """
    if isinstance(value, dict):
        if len(value) > MAX_CONTEXT_ENTRIES:
            message = "must have at most {limit} entries"
            raise PydanticCustomError(
                "too_long", message, {"limit": MAX_CONTEXT_ENTRIES}
            )
        limit = conf.get().agent_max_context_chars
        texts = [*value, *(each for each in value.values() if isinstance(each, str))]
        if sum(map(len, texts)) > limit:
            message = "must have at most {limit} characters in all"
            raise PydanticCustomError("too_long", message, {"limit": limit})
    return value


Identifier = Annotated[
    str, Field(min_length=1, max_length=128), AfterValidator(printable)
]
Text = Annotated[str, AfterValidator(_without_nul)]
EventTypes = Annotated[list[EventType], Field(max_length=MAX_EVENT_TYPES)]
MessageId = Annotated[int, Field(ge=1, le=MAX_MESSAGE_ID)]


class RunBody(BaseModel):
    """The body of `run` and `stream`."""

    model_config = ConfigDict(strict=True)

    regenerate: Identifier | None = None
    input: Annotated[
        Text,
        AfterValidator(_prompt),
        WrapValidator(_only_question),
        Field(validate_default=True),
    ] = _OMITTED
    org_id: Identifier = "default"
    conversation_id: Identifier | None = None
    context: Annotated[dict[Text, Text], BeforeValidator(_bounded_context)] = {}
    max_iterations: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] = 5
    events: EventTypes | None = None
    background: bool = False
    restarts: bool | None = None
    agent: Identifier | None = None
    on_busy: Literal["reject", "queue", "interrupt", "steer"] | None = None
    parent_message_id: Annotated[MessageId | None, AfterValidator(_only_place)] = None

    def to_request(
        self,
        principal: Principal,
        idempotency_key: str,
        agent: Agent,
        *,
        restarts: bool = True,
        traceparent: str = "",
    ) -> RunRequest:
        """Return the request of a caller for a run of an agent.

        `restarts` is that of a body without the field.
        """
        chosen = "max_iterations" in self.model_fields_set
        return RunRequest(
            input=self.input,
            principal=principal,
            agent=registry.get().key(agent),
            conversation_id=self.conversation_id or "",
            parent_message=self.parent_message,
            regenerate=self.regenerate or "",
            context=self.context,
            max_iterations=self.max_iterations if chosen else agent.max_iterations,
            background=self.background,
            restarts=restarts if self.restarts is None else self.restarts,
            idempotency_key=idempotency_key,
            request_hash=self.request_hash,
            traceparent=traceparent,
            on_busy=self.on_busy or agent.on_busy,
        )

    @property
    def parent_message(self) -> int | None:
        """The message that the run shall follow, 0 for none; None: the head."""
        if "parent_message_id" in self.model_fields_set:
            return self.parent_message_id or 0
        return None

    @property
    def request_hash(self) -> str:
        """The hash of the run that the body requests.

        The properties of a connection are no part of it, nor is the order of the keys.
        An agent is a part only if the body names one, and so is `on_busy`: the default
        may change. So are the fields of branches, which earlier versions did not have.
        """
        ordered = self
        if len(self.context) > 1:
            context = dict(sorted(self.context.items()))
            ordered = self.model_copy(update={"context": context})
        excluded = {"events", "restarts"}
        optional = ("agent", "on_busy", "regenerate")
        excluded |= {name for name in optional if not getattr(self, name)}
        if self.parent_message is None:
            excluded.add("parent_message_id")
        hashed = ordered.model_dump_json(exclude=excluded).encode()
        return hashlib.sha256(hashed).hexdigest()


def make_body(**values: object) -> RunBody:
    """Return the body with these values. Raises `InvalidRequest`."""
    try:
        return RunBody.model_validate(values)
    except ValidationError as error:
        raise _bad_request(error) from None


class OrgQuery(BaseModel):
    """The query of an endpoint for an organization's resources."""

    org_id: Identifier = "default"


class QueueQuery(OrgQuery):
    """The query of the pending runs of a conversation."""

    conversation_id: str


class EventsQuery(OrgQuery):
    """The query of a run's events."""

    after: Annotated[int, Field(ge=0, le=MAX_EVENT_NUMBER)] | None = None
    events: EventTypes | None = None


class PageQuery(OrgQuery):
    """The query of a list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str = ""
    search: Annotated[Text, Field(max_length=MAX_SEARCH)] = ""


class ConversationQuery(OrgQuery):
    """The query of a conversation: which part of its messages."""

    limit: Annotated[int, Field(ge=1)] = MAX_LIMIT
    cursor: str = ""
    start: Annotated[Literal["start", "end"], Field(alias="from")] = "start"


class InputBody(BaseModel):
    """The body that changes the input of a pending run, or steers an active one."""

    model_config = ConfigDict(strict=True)

    input: Annotated[Text, AfterValidator(_prompt)]


class OrderBody(BaseModel):
    """The body that changes the order of the pending runs of a conversation."""

    model_config = ConfigDict(strict=True)

    order: Annotated[list[Text], Field(max_length=MAX_ORDER)]


def json_body(model: type[Q]) -> Callable[[HttpRequest], Q]:
    """Return a function that parses a body; it ignores a BOM before the JSON.

    It raises `UnsupportedMediaType`, `BodyTooLarge`, `InvalidJson` or `InvalidRequest`.
    """

    def parse(request: HttpRequest) -> Q:
        if request.content_type != "application/json":
            raise UnsupportedMediaType
        try:
            return model.model_validate_json(_read_body(request).removeprefix(BOM))
        except ValidationError as error:
            raise _bad_request(error) from None

    return parse


#: Parses the body of `run` and `stream`.
run_body = json_body(RunBody)


def _read_body(request: HttpRequest) -> bytes:
    """Return the body of a request. Raises `BodyTooLarge`.

    `make_application()` has refused a too large body before Django sees the request;
    other applications limit no body.
    """
    limit = conf.get().agent_max_body_bytes
    if announced_size(request) <= limit:
        body = request.read(limit + 1)
        if len(body) <= limit:
            return body
    raise too_large(limit)


def query(model: type[Q]) -> Callable[[HttpRequest], Q]:
    """Return a function that parses a query string, or raises `InvalidRequest`."""

    def parse(request: HttpRequest) -> Q:
        values: dict[str, Any] = {name: request.GET[name] for name in request.GET}
        if "events" in values:
            values["events"] = [e for e in values["events"].split(",") if e]
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise _bad_request(error) from None

    return parse


def parse_last_event_id(value: str) -> tuple[str, int]:
    """Return the run id and number of `{run_id}:{n}`. Raises `InvalidRequest`."""
    run_id, separator, number = value.strip().rpartition(":")
    if separator and run_id and number.isascii() and number.isdigit():
        return run_id, min(int(number[:12]), MAX_EVENT_NUMBER)
    detail = FieldError("Last-Event-ID", "must be an event id: run_id:number")
    raise InvalidRequest([detail])


def parse_idempotency_key(value: str) -> str:
    """Return the key if it is valid. Raises `InvalidRequest`."""
    if len(value) > MAX_IDEMPOTENCY_KEY or not value.isprintable():
        message = f"must be at most {MAX_IDEMPOTENCY_KEY} printable characters"
        raise InvalidRequest([FieldError("Idempotency-Key", message)])
    return value


def _bad_request(error: ValidationError) -> InvalidJson | InvalidRequest:
    details = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    if details[0]["type"] == "json_invalid":
        return InvalidJson(f"The body is not valid JSON: {details[0]['msg']}.")
    errors = []
    for detail in details:
        field = ".".join(map(str, detail["loc"])) or "body"
        # Pydantic's sentences, in the wording of the API.
        message = detail["msg"].replace("Input should", "must")
        errors.append(FieldError(field, message.replace("Field required", "required")))
    return InvalidRequest(errors)
