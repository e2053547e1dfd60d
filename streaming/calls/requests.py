"""The request of Python code for a run: validated like that of a client."""

import hashlib
import json
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.db import connections

from streaming.agents import registry
from streaming.agents.declaration import Agent
from streaming.api.schemas import make_body, parse_idempotency_key
from streaming.auth.organizations import (
    DEFAULT,
    MAX_ORG_ID_CHARS,
    organization_in_thread,
    principal_in,
)
from streaming.exceptions import FieldError, InvalidRequest
from streaming.principals import Principal
from streaming.runs import RunRequest


class Call(msgspec.Struct, frozen=True):
    """A valid call of an agent, whose caller is looked up when it starts a run."""

    #: Complete, except for its principal.
    request: RunRequest
    user: Any
    organization: Any

    @property
    def agent(self) -> str:
        """The name of the agent in the rows of its runs."""
        return self.request.agent

    @property
    def is_shared(self) -> bool:
        """Whether another call may join its run."""
        return bool(self.request.idempotency_key)

    def to_request(self) -> RunRequest:
        """Return the request, in synchronous code. Raises `Forbidden`."""
        principal = principal_of(self.user, self.organization)
        return msgspec.structs.replace(self.request, principal=principal)

    async def ato_request(self) -> RunRequest:
        """Return the request. Raises `Forbidden`."""
        return await sync_to_async(self.to_request)()


def make_call(
    agent: Agent,
    input: str,
    *,
    user: Any = None,  # noqa: ANN401  (of the project's own class)
    organization: Any = None,  # noqa: ANN401  (of the project's own class)
    conversation: object = "",
    parent_message: int | None = None,
    regenerate: object = "",
    context: dict[str, str] | None = None,
    deps: object = None,
    max_iterations: int | None = None,
    on_busy: str | None = None,
    idempotency_key: str = "",
) -> Call:
    """Return a call of an agent. Raises `InvalidRequest`.

    Raises `ImproperlyConfigured` for an agent that other processes do not know.
    """
    name = _registered(agent)
    body = make_body(
        **_place(input, parent_message, regenerate),
        conversation_id=str(conversation) if conversation else None,
        context=context or {},
        max_iterations=(
            agent.max_iterations if max_iterations is None else max_iterations
        ),
        background=True,
        on_busy=on_busy,
    )
    key = parse_idempotency_key(idempotency_key)
    stored = _stored(deps)
    hashed = json.dumps([name, body.request_hash, stored], sort_keys=True)
    request = RunRequest(
        input=body.input,
        principal=Principal(DEFAULT),
        agent=name,
        conversation_id=body.conversation_id or "",
        parent_message=body.parent_message,
        regenerate=body.regenerate or "",
        context=body.context,
        max_iterations=body.max_iterations,
        background=True,
        idempotency_key=key,
        request_hash=hashlib.sha256(hashed.encode()).hexdigest() if key else "",
        deps=stored,
        on_busy=body.on_busy or agent.on_busy,
    )
    return Call(request, user, organization)


def _place(input: str, parent: int | None, regenerate: object) -> dict[str, object]:
    """Return the fields of a body for a question, or for that of an earlier run."""
    fields: dict[str, object] = {}
    if regenerate:
        fields["regenerate"] = str(getattr(regenerate, "id", regenerate))
    if input or not regenerate:
        fields["input"] = input
    if parent is not None:
        fields["parent_message_id"] = parent or None
    return fields


def principal_of(user: Any, organization: Any) -> Principal:  # noqa: ANN401
    """Return the caller that a user of an organization is.

    The organization is that of the user if it is not given. Raises `Forbidden`.
    """
    if user is not None and not hasattr(user, "is_anonymous"):
        raise InvalidRequest([FieldError("user", "must be a user or None")])
    if user is None or user.is_anonymous:
        key, credential = "", ""
    elif user.pk is None:
        raise InvalidRequest([FieldError("user", "must be saved before it is used")])
    else:
        key = str(user.pk)
        credential = f"user:{key}"
    if organization is not None:
        if getattr(organization, "pk", organization) is None:
            problem = "must be saved before it is used"
            raise InvalidRequest([FieldError("organization", problem)])
        org_id = str(getattr(organization, "pk", organization))
        if not (0 < len(org_id) <= MAX_ORG_ID_CHARS and org_id.isprintable()):
            problem = f"must be 1 to {MAX_ORG_ID_CHARS} printable characters"
            raise InvalidRequest([FieldError("organization", problem)])
    else:
        org_id = organization_in_thread(user) if key else DEFAULT
    return principal_in(org_id, key, credential=credential)


def refuse_in_transaction(name: str) -> None:
    """Raise `RuntimeError` if the calling thread is in a transaction."""
    if any(each.in_atomic_block for each in connections.all(initialized_only=True)):
        raise RuntimeError(
            f"{name}() cannot be called inside transaction.atomic(): the run would "
            "not see the rows of the transaction, and could block it. Call it after "
            "the block, or call enqueue(), which starts the run at the commit. In a "
            "TestCase, call it inside override()."
        )


def _registered(agent: Agent) -> str:
    """Return the name of an agent in the rows of its runs."""
    agents = registry.get()
    name = agents.key(agent)
    try:
        is_known = agents.by_key(name) is agent
    except registry.UnknownAgent:
        is_known = False
    if not is_known:
        raise agent.error("only agents in the agents.py of an installed app can run")
    return name


def _stored(deps: object) -> object:
    """Return values as the database returns them. Raises `InvalidRequest`."""
    try:
        text = json.dumps(deps, allow_nan=False, ensure_ascii=False)
        text.encode()  # PostgreSQL stores no lone surrogates, and no NUL
    except (TypeError, ValueError) as error:
        problem = f"must be values that JSON can hold ({error})"
        raise InvalidRequest([FieldError("deps", problem)]) from None
    if "\\u0000" in text:
        raise InvalidRequest([FieldError("deps", "must not contain NUL characters")])
    return json.loads(text)
