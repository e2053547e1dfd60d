"""The tree of a conversation agrees with a simple model, whatever is done to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.agent.progress import Progress
from streaming.agents.loops import make_loops
from streaming.api.conversations import read_conversation
from streaming.api.schemas import ConversationQuery
from streaming.messages import Message, TextPart
from streaming.models import LogState, Run
from streaming.principals import Principal
from streaming.runs import conversations, store
from streaming.runs.attempts import load
from streaming.runs.ends import FinishRuns
from streaming.runs.start import RunDefaults, RunRequest, start_runs
from tests import campaign

ALL = 10**9
ALICE = Principal("acme")
TERMS = RunDefaults(worker="here", agents=make_loops(), history_chars=ALL)
#: Conversations of other examples have other names.
NAMES = count()


@dataclass
class Node:
    """A message."""

    id: int
    text: str
    parent: "Node | None"
    run: "Asked"

    @property
    def path(self) -> "list[Node]":
        """Return the messages from the beginning to this one."""
        return [*(self.parent.path if self.parent else []), self]


@dataclass
class Asked:
    """A run, with its question and the messages that it has added."""

    id: str
    is_refused: bool
    question: Node | None = None
    own: list[Node] = field(default_factory=list)


class Model:
    """A conversation, and the same as a tree of nodes."""

    def __init__(self) -> None:
        self.name = f"c{next(NAMES)}"
        self.nodes: list[Node] = []
        self.runs: list[Asked] = []
        self.head: Node | None = None
        self._texts = map(str, count())

    # What may be done.

    def ask(self, parent: Node | None, answers: int, is_refused: bool) -> None:
        """Ask a question after a message."""
        given = (
            {}
            if parent is self.head
            else {"parent_message": parent.id if parent else 0}
        )
        text = next(self._texts)
        run, history = self._start(input=text, **given)
        asked = Asked(run.id, is_refused)
        path = parent.path if parent else []
        assert history == [*_accepted(path), text]
        self._finish(run, asked, parent, [text], answers)
        asked.question = asked.own[0]

    def repeat(self, earlier: Asked, answers: int, is_refused: bool) -> None:
        """Answer the question of a run again."""
        question = earlier.question
        assert question
        run, history = self._start(regenerate=earlier.id, input="")
        asked = Asked(run.id, is_refused, question)
        before = question.parent.path if question.parent else []
        assert history == [*_accepted(before), question.text]
        assert self.shown() == [n.text for n in question.path]
        self._finish(run, asked, question, [], answers)

    def go_to(self, node: Node) -> None:
        """Show the branch through a message."""
        conversations.show_branch(ALICE, self.name, node.id)
        self.head = max((n for n in self.nodes if node in n.path), key=_id)

    def fork(self, node: Node | None) -> None:
        """Copy the branch of a message."""
        copy = conversations.fork(ALICE, self.name, node.id if node else None)
        copied = read_conversation(ALICE, copy.conversation_id, ConversationQuery())
        last = node or self.head
        assert _texts(copied) == _accepted(last.path if last else [])

    def ends(self) -> list[Node]:
        """Return the messages after which a question may be asked."""
        return [run.own[-1] for run in self.runs if run.own]

    # What must hold.

    def shown(self, **query: Any) -> list[str]:  # noqa: ANN401
        return _texts(self._read(**query))

    def check(self) -> None:
        """Compare the conversation that clients read with the tree."""
        path = self.head.path if self.head else []
        read = self._read()
        assert [m["id"] for m in read["messages"]] == [n.id for n in path]
        for message, node in zip(read["messages"], path, strict=True):
            assert message["parent_id"] == (node.parent.id if node.parent else None)
            siblings = [n.id for n in self.nodes if n.parent is node.parent]
            assert message.get("siblings", [node.id]) == sorted(siblings)
        newest = max(self.nodes, key=_id, default=None)
        is_newest = self.head is newest
        assert read["head"] == (None if is_newest or not self.head else self.head.id)
        for start in ("start", "end"):
            pages = list(self._pages(start))
            ordered = pages if start == "start" else pages[::-1]
            assert [m for page in ordered for m in page] == read["messages"]

    def _read(self, **query: Any) -> Any:  # noqa: ANN401
        asked = ConversationQuery.model_validate(query)
        return read_conversation(ALICE, self.name, asked)

    def _pages(self, start: str) -> Any:  # noqa: ANN401
        query: dict[str, object] = {"from": start, "limit": 2}
        while query:
            page = self._read(**query)
            yield page["messages"]
            cursor = page.get("next_cursor")
            query = {"cursor": cursor, "limit": 2} if cursor else {}

    def _start(self, **fields: Any) -> tuple[Run, list[str]]:  # noqa: ANN401
        request = RunRequest(principal=ALICE, conversation_id=self.name, **fields)
        [result] = start_runs([request], TERMS, lambda runs: None)
        assert result.history
        history = [message.text for message in result.history()]
        # An attempt in another process reads the same.
        owned = store.OwnedRun.of(result.run)
        again = load(owned, ALL).history()
        assert [message.text for message in again] == history
        return result.run, history

    def _finish(
        self,
        run: Run,
        asked: Asked,
        parent: Node | None,
        texts: Sequence[str],
        answers: int,
    ) -> None:
        said = [next(self._texts) for _ in range(answers)]
        progress = Progress(
            messages=[Message("assistant", [TextPart(text)]) for text in said],
            stop_reason="refusal" if asked.is_refused else "end_turn",
        )
        owned = store.OwnedRun.of(run)
        result = store.RunResult(owned, progress, None, None)
        FinishRuns(lambda runs: None)([(result, LogState.COMPACTED)])
        stored = list(run.messages.order_by("pk").values_list("pk", flat=True))
        for pk, text in zip(stored, [*texts, *said], strict=True):
            parent = Node(pk, text, parent, asked)
            asked.own.append(parent)
            self.nodes.append(parent)
        self.runs.append(asked)
        if asked.own:  # else a repeated answer leaves the head where it was
            self.head = parent


def _id(node: Node) -> int:
    return node.id


def _texts(read: Any) -> list[str]:  # noqa: ANN401
    return [message["parts"][0]["text"] for message in read["messages"]]


def _accepted(path: Sequence[Node]) -> list[str]:
    """Return the texts of a path without the exchanges that were refused."""
    questions = {id(run.question) for node in path for run in [node.run]}
    found: list[str] = []
    answering: Asked | None = None
    for at, node in enumerate(path):
        if id(node) in questions and node.run.question is node:
            following = path[at + 1].run if at + 1 < len(path) else node.run
            answering = following if following.question is node else node.run
        assert answering
        if not answering.is_refused:
            found.append(node.text)
    return found


def _do(model: Model, data: st.DataObject) -> None:
    """Do one thing that is possible."""
    draw: Callable[[Sequence[Any]], Any] = lambda some: data.draw(  # noqa: E731
        st.sampled_from(some)
    )
    kinds = ["ask"] + (["edit", "repeat", "go to", "fork"] if model.nodes else [])
    kind = draw(kinds)
    answers, is_refused = draw([1, 1, 2, 0]), draw([False, False, True])
    match kind:
        case "ask":
            model.ask(model.head, answers, is_refused)
        case "edit":
            model.ask(draw([None, *model.ends()]), answers, is_refused)
        case "repeat":
            model.repeat(draw(model.runs), answers, is_refused)
        case "go to":
            model.go_to(draw(model.nodes))
        case "fork":
            model.fork(draw([None, *model.ends()]))


@pytest.mark.django_db
@settings(max_examples=campaign.examples(15))
@given(steps=st.integers(1, 12), data=st.data())
def test_the_tree_is_that_of_the_model(steps: int, data: st.DataObject) -> None:
    model, other = Model(), Model()
    for _ in range(steps):
        _do(model, data)
        model.check()
        other.ask(other.head, 1, False)  # its messages lie between those of the tree
