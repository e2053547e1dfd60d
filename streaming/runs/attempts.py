"""The state with which an attempt begins: that of the last checkpoint of its run.

The first attempt of a run begins with nothing but the history. A further one finds the
messages and counts of the run in the database, and beyond the checkpoint only its log.
"""

import time
from collections.abc import Iterable

import msgspec

from streaming.agent.progress import Progress
from streaming.event_log import OwnershipLost, stored_log
from streaming.events import (
    Content,
    Entry,
    Restarted,
    Thinking,
    ToolResultEvent,
    decode,
)
from streaming.messages import Message, ToolResultPart, json_size
from streaming.models import Run
from streaming.prices import PARTS
from streaming.providers.base import TokenUsage
from streaming.runs.branches import history_sql
from streaming.runs.history import History, read_history
from streaming.runs.lifecycle import Claim
from streaming.runs.store import OwnedRun, count_saved
from streaming.storage.sql import database_time


class Earlier(msgspec.Struct, frozen=True):
    """The state that earlier attempts have left."""

    #: The number of messages, without the question.
    messages: int
    usage: TokenUsage
    #: The cost in billionths of a US dollar; None: the price is unknown.
    cost: int | None
    llm_calls: int
    tool_calls: int
    used_tools: list[str]
    #: Seconds since the run was created.
    age: float
    #: The results of tools that only the log has, by call id.
    results: dict[str, ToolResultPart]
    #: The text of each response that was lost.
    lost: list[str]

    def progress(self) -> Progress:
        """Return the progress of the run, except for its messages."""
        return Progress(
            started=time.monotonic() - self.age,
            settled=self.messages,
            usage=self.usage,
            llm_calls=self.llm_calls,
            tool_calls=self.tool_calls,
            used_tools=[*self.used_tools],
            recovered=self.results,
            lost=self.lost,
            cost_before=self.cost,
        )


class Attempt(msgspec.Struct, frozen=True):
    """A claimed run with its history, and with the state of earlier attempts if any."""

    run: OwnedRun
    history: History
    earlier: Earlier | None = None

    @property
    def is_first(self) -> bool:
        """Whether no earlier attempt has begun to execute the run."""
        before = self.earlier
        return not (before and (before.llm_calls or self.run.log_number))

    def begin(self, progress: Progress) -> list[Message]:
        """Add the run's own messages to its progress; return those before them."""
        messages = self.history()
        if self.earlier and (own := self.earlier.messages):
            progress.messages = messages[-own:]
            progress.added_chars = json_size(progress.messages)
            del messages[-own:]
        return messages


def load(claim: Claim, history_chars: int) -> Attempt:
    """Return a claimed run, loaded from the database. Raises `OwnershipLost`."""
    runs = Run.objects.select_related("organization", "conversation")
    run = runs.filter(**claim.condition).first()
    if run is None:
        raise OwnershipLost(claim.id)
    earlier = _earlier(run)
    sql = history_sql(run, has_messages=bool(earlier and earlier.messages))
    history = read_history(run.conversation, history_chars, sql)
    return Attempt(OwnedRun.of(run), history, earlier)


def _earlier(run: Run) -> Earlier | None:
    if run.attempt == 1:
        return None
    entries = stored_log().read_all(run.id, run.checkpoint_number)
    results, lost = _read_entries(entries if run.log_number else ())
    age = (database_time() - run.created_at).total_seconds()
    return Earlier(
        messages=count_saved(run),
        usage=usage_of(run),
        cost=None
        if run.cost is None and run.llm_calls
        else int((run.cost or 0) * PARTS),
        llm_calls=run.llm_calls,
        tool_calls=run.tool_calls,
        used_tools=run.used_tools,
        age=max(age, 0.0),
        results=results,
        lost=lost,
    )


def usage_of(run: Run) -> TokenUsage:
    """Return the usage in a run's row."""
    return TokenUsage(
        run.input_tokens,
        run.output_tokens,
        run.reasoning_tokens,
        run.cache_read_tokens,
        run.cache_write_tokens,
    )


def _read_entries(
    entries: Iterable[Entry],
) -> tuple[dict[str, ToolResultPart], list[str]]:
    """Return the results of tools, and the text of each response that was made void."""
    results: dict[str, ToolResultPart] = {}
    texts: list[str] = []
    pieces: list[str] = []
    for entry in entries:
        match decode(entry.data):
            case Content(content=text) | Thinking(thinking_step=text):
                pieces.append(text)
            case ToolResultEvent(tool_call=call):
                is_error = call.status == "error"
                result = ToolResultPart(call.id, call.name, call.result or "", is_error)
                results[call.id] = result
            case Restarted():
                if pieces:
                    texts.append("".join(pieces))
                pieces = []
    return results, texts
