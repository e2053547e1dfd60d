"""A run that Python code has started."""

from collections.abc import AsyncGenerator, Callable
from decimal import Decimal
from typing import Any, cast

import msgspec
from django.db.models import Q
from django.http import HttpRequest

from streaming import conf
from streaming.agent.output import OutputType
from streaming.agents import registry
from streaming.api.follow import follow
from streaming.api.schemas import parse_last_event_id
from streaming.calls.errors import RunFailed
from streaming.events import Event, Usage, decode
from streaming.exceptions import (
    AgentError,
    DatabaseUnavailable,
    FieldError,
    InvalidRequest,
    ShuttingDown,
    from_code,
)
from streaming.messages import Message, Role, parts_from_json
from streaming.models import Message as MessageRow
from streaming.models import Run
from streaming.principals import Principal
from streaming.runs import RunService, get_own_service, inputs, pending, store
from streaming.server.clients import acquire_stream_slot
from streaming.server.event_stream import EventStream
from streaming.storage.database import Database
from streaming.wire.native import NativeFormat


class _State(msgspec.Struct, frozen=True):
    """A run with its messages, as the database has them at some moment."""

    run: Run
    text: str
    messages: list[Message]


class AgentRun:
    """A run, by its id; its values are those of the last `refresh` or `wait`.

    A run that was started or enqueued has no output yet.
    """

    def __init__(
        self,
        run: Run,
        find_service: Callable[[], RunService] = get_own_service,
        *,
        is_steered: bool = False,
    ) -> None:
        #: Whether the call steered a run that another one has started.
        self.is_steered = is_steered
        self._state = _State(run, "", [])
        self._find_service = find_service

    def __repr__(self) -> str:
        return f"<AgentRun {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The id of the run, by which its endpoints know it."""
        return self._state.run.id

    @property
    def conversation(self) -> str:
        """The id of its conversation, for the next run in it."""
        return self._state.run.conversation.conversation_id

    @property
    def status(self) -> str:
        """Its state.

        `pending`, `queued`, `running`, `completed`, `failed` or `cancelled`.
        """
        return self._state.run.status

    @property
    def text(self) -> str:
        """The text of the newest response."""
        return self._state.text

    @property
    def output(self) -> Any:  # noqa: ANN401  (text, or of the agent's `output_type`)
        """The answer: a value of the agent's `output_type`, else the text.

        A run that did not complete has its text, as far as it came.
        """
        kind = _output_type(self._state.run)
        return kind.validate(self.text) if kind else self.text

    @property
    def messages(self) -> list[Message]:
        """The question, and the messages that answer it."""
        return self._state.messages

    @property
    def stop_reason(self) -> str:
        """The reason of the end, such as `end_turn`; empty before it."""
        return self._state.run.stop_reason

    @property
    def error(self) -> AgentError | None:
        """The error of a failed run."""
        run = self._state.run
        return from_code(run.error_code, run.error_message) if run.error_code else None

    @property
    def usage(self) -> Usage:
        """The tokens that it used."""
        run = self._state.run
        return Usage(
            run.input_tokens, run.output_tokens, run.total_tokens, run.reasoning_tokens
        )

    @property
    def cost(self) -> Decimal | None:
        """The cost in US dollars; None if the price of the model is unknown."""
        return self._state.run.cost

    async def refresh(self) -> None:
        """Read its values from the database."""
        await self._refresh(self._find_service().worker.database)

    async def wait(self) -> "AgentRun":
        """Return the run when it has ended. Raises `RunFailed` if it failed.

        A caller that stops waiting does not stop the run.
        """
        service = self._find_service()
        await service.wait_for_end(self._state.run)
        await self._refresh(service.worker.database)
        if not self._state.run.has_ended:
            raise _interruption(service)
        if self.error:
            raise RunFailed(self.id, self.error, self.text)
        return self

    async def cancel(self) -> None:
        """Cancel the run, at the provider too; return before it has ended."""
        await self._find_service().cancel(self.id)

    async def steer(self, text: str) -> str:
        """Add a text, which the run takes after the result of a tool; return its id.

        Raises `RunEnded`, `RunPending` or `RateLimited`.
        """
        if not text.strip() or "\0" in text:
            raise InvalidRequest([FieldError("text", "must not be blank or have NUL")])
        run, database = self._state.run, self._find_service().worker.database
        principal = Principal(run.organization.org_id, run.user, run.owner)
        most = conf.get().run_max_pending
        return await database.execute_write(inputs.add, self.id, principal, text, most)

    async def events(self, after: int = 0) -> AsyncGenerator[Event]:
        """Yield the events of the run after a number: those so far and those to come.

        The last ones are `Complete` or `ErrorEvent`, and `Done`. A reader that leaves
        does not stop the run.
        """
        service, run = self._find_service(), self._state.run
        is_complete = False
        async with service.following(
            run.id, after, is_active=not run.has_ended
        ) as batches:
            async for batch in batches:
                for entry in batch:
                    is_complete = entry.is_last
                    if event := decode(entry.data):
                        yield event
        if not is_complete:
            raise _interruption(service)

    def response(self, request: HttpRequest) -> EventStream:
        """Return a stream of the run for an asynchronous view.

        A request with the last event id of this run resumes its stream. Raises
        `TooManyStreams`, or `InvalidRequest` for an invalid id.
        """
        acquire_stream_slot(request)
        cursor = None
        if last_event_id := request.headers.get("Last-Event-ID"):
            run_id, number = parse_last_event_id(last_event_id)
            cursor = number if run_id == self.id else None
        frames = follow(
            self._state.run,
            NativeFormat(),
            cursor=cursor,
            service=self._find_service(),
        )
        return EventStream(frames, self.id)

    async def _refresh(self, database: Database) -> None:
        self._state = await database.execute_read(_load, self.id)


def _output_type(run: Run) -> OutputType[Any] | None:
    """Return the type of a run's output, if it has such an output."""
    if not run.structured_output:
        return None
    try:
        return registry.get().by_key(run.agent).output
    except registry.UnknownAgent:
        return None


def _load(run_id: str) -> _State:
    run = Run.objects.select_related("organization", "conversation").get(pk=run_id)
    own = Q(run=run) | Q(pk=run.question)
    rows = MessageRow.objects.filter(own).order_by("id")
    messages = [
        Message(cast(Role, role), parts_from_json(parts))
        for role, parts in rows.values_list("role", "parts")
    ]
    return _State(pending.with_position(run), store.load_output(run), messages)


def _interruption(service: RunService) -> AgentError:
    """Return the reason for which the events of an active run have ended."""
    return ShuttingDown() if service.draining else DatabaseUnavailable()
