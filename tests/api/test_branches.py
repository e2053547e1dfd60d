"""Branches: edited questions, repeated answers, heads, copies and titles."""

import asyncio
from typing import Any

import pytest

from streaming.messages import TextPart, parts_to_json
from streaming.models import Conversation, Limit, Message, Run
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api, Response

pytestmark = pytest.mark.usefixtures("model")

C = "conversation_id=c"


class Talk:
    """A conversation "c" of the API, whose model answers as scripted."""

    def __init__(self, api: Api, upstream: StandInProvider) -> None:
        self.api = api
        self.upstream = upstream

    async def ask(self, text: str, answer: str, **fields: object) -> str:
        """Ask a question; return the id of the run that answered it."""
        return await self.send(answer, input=text, **fields)

    async def repeat(self, run_id: str, answer: str, **fields: object) -> str:
        """Repeat the answer of a run; return the id of the new one."""
        return await self.send(answer, regenerate=run_id, **fields)

    async def send(self, answer: str, **body: object) -> str:
        self.upstream.reply(chat.answer(answer))
        ended = await self.post("run", {"conversation_id": "c", **body})
        assert ended.status == 200, ended.body
        run_id: str = ended.json["run_id"]
        return run_id

    async def post(self, path: str, body: object) -> Response:
        return await self.api.post(f"{API}/{path}", body)

    async def read(self, query: str = "") -> Any:  # noqa: ANN401
        return (await self.api.get(f"{API}/conversations/c{query}")).json

    async def shown(self) -> list[str]:
        """Return the texts of the branch that is shown."""
        return texts_of(await self.read())

    async def ids(self) -> list[int]:
        return [m["id"] for m in (await self.read())["messages"]]

    async def go_to(self, message: int) -> Response:
        return await self.post(f"conversation/head?{C}", {"message_id": message})

    def sent(self) -> list[str]:
        """Return the texts of the model's last request, without instructions."""
        messages = self.upstream.requests[-1].json["messages"]
        return [m["content"] for m in messages if m["role"] != "system"]


@pytest.fixture
def talk(api: Api, upstream: StandInProvider) -> Talk:
    return Talk(api, upstream)


def texts_of(conversation: Any) -> list[str]:  # noqa: ANN401
    return [m["parts"][0]["text"] for m in conversation["messages"]]


async def test_each_message_of_a_linear_conversation_has_its_place(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    await talk.ask("q2", "a2")
    read = await talk.read()
    ids = [m["id"] for m in read["messages"]]
    assert ids == sorted(ids)
    assert [m["parent_id"] for m in read["messages"]] == [None, *ids[:-1]]
    assert not any("siblings" in m for m in read["messages"])
    assert read["head"] is None
    conversation = await Conversation.objects.aget()
    assert not conversation.is_branched
    assert not await Message.objects.exclude(parent=None).aexists()


async def test_an_edited_question_is_a_sibling_of_the_first_one(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    await talk.ask("q2", "a2")
    _, a1, q2, _ = await talk.ids()
    await talk.ask("q2, better", "a3", parent_message_id=a1)
    assert talk.sent() == ["q1", "a1", "q2, better"]
    await talk.ask("q3", "a4")
    assert talk.sent() == ["q1", "a1", "q2, better", "a3", "q3"]
    read = await talk.read()
    assert texts_of(read) == ["q1", "a1", "q2, better", "a3", "q3", "a4"]
    edited = read["messages"][2]
    assert (edited["parent_id"], edited["siblings"]) == (a1, [q2, edited["id"]])
    assert [m.get("siblings") for m in read["messages"]].count(None) == 5
    assert [run["status"] for run in read["runs"]] == ["completed"] * 3
    again = await talk.go_to(q2)
    assert texts_of(again.json) == ["q1", "a1", "q2", "a2"]
    assert again.json["messages"][2]["siblings"] == [q2, edited["id"]]


async def test_an_edited_first_question_begins_the_conversation_again(
    talk: Talk,
) -> None:
    await talk.ask("q1", "a1")
    [q1, _] = await talk.ids()
    await talk.ask("q1, better", "a2", parent_message_id=None)
    assert talk.sent() == ["q1, better"]
    read = await talk.read()
    assert texts_of(read) == ["q1, better", "a2"]
    first = read["messages"][0]
    assert (first["parent_id"], first["siblings"]) == (None, [q1, first["id"]])
    assert read["title"] == "q1"


async def test_a_parent_that_is_the_newest_message_is_no_branch_point(
    talk: Talk,
) -> None:
    await talk.ask("q1", "a1")
    await talk.ask("q2", "a2", parent_message_id=(await talk.ids())[-1])
    assert await talk.shown() == ["q1", "a1", "q2", "a2"]
    assert not (await Conversation.objects.aget()).is_branched


@pytest.mark.parametrize("path", ["run", "stream"])
async def test_a_parent_must_end_an_exchange_of_the_conversation(
    talk: Talk, path: str
) -> None:
    await talk.ask("q1", "a1")
    q1, a1 = await talk.ids()
    await talk.send("x", input="elsewhere", conversation_id="d")
    elsewhere = await Message.objects.alast()
    assert elsewhere
    for name, parent in (
        ("c", q1),
        ("c", elsewhere.pk),
        ("c", 2**63 - 1),
        ("c", 2**63),
        ("c", 0),
        ("c", "1"),
        ("new", a1),
        ("new", None),
        (None, None),
        (None, a1),
    ):
        body: dict[str, object] = {"input": "q", "parent_message_id": parent}
        if name:
            body["conversation_id"] = name
        refused = await talk.post(path, body)
        assert refused.status == 400, body
        fields = [detail["field"] for detail in refused.json["details"]]
        assert fields == ["parent_message_id"]
    assert await Conversation.objects.acount() == 2
    assert await Run.objects.acount() == 2


async def test_a_repeated_answer_is_a_sibling_of_the_first_one(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    run_id = await talk.ask("q2", "a2")
    *_, q2, a2 = await talk.ids()
    second = await talk.repeat(run_id, "a2, again")
    assert talk.sent() == ["q1", "a1", "q2"]
    third = await talk.repeat(second, "a2, once more")
    assert talk.sent() == ["q1", "a1", "q2"]
    read = await talk.read()
    assert texts_of(read) == ["q1", "a1", "q2", "a2, once more"]
    last = read["messages"][-1]
    assert last["parent_id"] == q2
    assert last["siblings"] == [a2, a2 + 1, last["id"]]
    assert [run["run_id"] for run in read["runs"]][-1] == third
    runs = [run async for run in Run.objects.filter(pk__in=[second, third])]
    assert {(run.input, run.question) for run in runs} == {("q2", q2)}
    await talk.ask("q3", "a3")
    assert talk.sent() == ["q1", "a1", "q2", "a2, once more", "q3"]
    await talk.go_to(a2)
    assert await talk.shown() == ["q1", "a1", "q2", "a2"]
    await talk.ask("q4", "a4")
    assert talk.sent() == ["q1", "a1", "q2", "a2", "q4"]


async def test_only_an_ended_run_of_the_conversation_is_repeated(
    talk: Talk, upstream: StandInProvider
) -> None:
    run_id = await talk.ask("q1", "a1")
    elsewhere = await talk.ask("q", "a", conversation_id="d")
    for name, regenerate in (
        ("c", elsewhere),
        ("c", "x"),
        ("new", run_id),
        (None, run_id),
    ):
        asked = {"regenerate": regenerate, "conversation_id": name}
        refused = await talk.post("run", asked)
        assert refused.status == 400
        assert [d["field"] for d in refused.json["details"]] == ["regenerate"]
    for field, body in (
        ("input", {"regenerate": run_id, "input": "q"}),
        ("parent_message_id", {"regenerate": run_id, "parent_message_id": None}),
        ("input", {}),
    ):
        refused = await talk.post("run", {**body, "conversation_id": "c"})
        assert [d["field"] for d in refused.json["details"]] == [field]
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    busy = {"conversation_id": "c", "regenerate": run_id}
    async with talk.api.open("POST", f"{API}/stream", busy) as stream:
        active = (await stream.until("connected")).data["metadata"]["run_id"]
        for body in (busy, {"conversation_id": "c", "regenerate": active}):
            refused = await talk.post("run", body)
            assert (refused.status, refused.json["run_id"]) == (409, active)
        refused = await talk.go_to((await talk.ids())[0])
        assert (refused.status, refused.json["run_id"]) == (409, active)
        refused = await talk.post(f"conversation/fork?{C}", {})
        assert (refused.status, refused.json["run_id"]) == (409, active)
        await talk.api.post(f"{API}/runs/{active}/cancel")
        await stream.end()


async def test_while_an_answer_is_repeated_its_question_is_shown(
    talk: Talk, upstream: StandInProvider
) -> None:
    run_id = await talk.ask("q1", "a1")
    [q1, _] = await talk.ids()
    held = asyncio.Event()
    reply = Reply(chat.pieces("a", "2") + chat.ending(), chunk_size=90, held=held)
    upstream.reply(reply)
    body = {"conversation_id": "c", "regenerate": run_id}
    async with talk.api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("connected")
        read = await talk.read()
        assert texts_of(read) == ["q1"]
        assert read["head"] == q1
        assert read["active_run_id"] in [run["run_id"] for run in read["runs"]]
        held.set()
        await stream.end()
    assert await talk.shown() == ["q1", "a2"]
    assert (await talk.read())["head"] is None


async def test_a_failed_answer_can_be_repeated(
    talk: Talk, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(status=400))
    body = {"conversation_id": "c", "input": "q1"}
    assert (await talk.post("run", body)).status == 502
    failed = await Run.objects.aget()
    upstream.reply(Reply(status=400))
    body = {"conversation_id": "c", "regenerate": failed.pk}
    assert (await talk.post("run", body)).status == 502
    read = await talk.read()
    assert texts_of(read) == ["q1"]
    assert [run["status"] for run in read["runs"]] == ["failed", "failed"]
    await talk.repeat(failed.pk, "a1")
    assert talk.sent() == ["q1"]
    assert await talk.shown() == ["q1", "a1"]


async def test_a_repeated_answer_that_fails_brings_back_the_earlier_one(
    talk: Talk, upstream: StandInProvider
) -> None:
    first = await talk.ask("q1", "a1")
    q1, a1 = await talk.ids()
    upstream.reply(Reply(status=400))
    failed = {"conversation_id": "c", "regenerate": first}
    assert (await talk.post("run", failed)).status == 502
    read = await talk.read()
    assert (texts_of(read), read["head"]) == (["q1", "a1"], None)
    await talk.ask("q2", "a2")
    assert talk.sent() == ["q1", "a1", "q2"]
    await talk.ask("q1, better", "a3", parent_message_id=None)
    await talk.go_to(a1)
    upstream.reply(Reply(status=400))
    assert (await talk.post("run", failed)).status == 502
    assert await talk.shown() == ["q1", "a1", "q2", "a2"]
    # As a process of an earlier version would leave it.
    await Conversation.objects.aupdate(head=q1)
    await talk.ask("q3", "a4")
    assert talk.sent() == ["q1", "a1", "q2", "a2", "q3"]


async def test_a_question_is_in_the_history_if_its_answer_in_the_branch_is(
    talk: Talk, upstream: StandInProvider
) -> None:
    refused = await talk.ask("q1", "a1")
    await Run.objects.filter(pk=refused).aupdate(stop_reason="refusal")
    _, a1 = await talk.ids()
    accepted = await talk.repeat(refused, "a2")
    assert talk.sent() == ["q1"]
    await talk.ask("q2", "a")
    assert talk.sent() == ["q1", "a2", "q2"]
    await talk.go_to(a1)
    await talk.ask("q3", "a")
    assert talk.sent() == ["q3"]
    again = await talk.repeat(accepted, "a3")
    await Run.objects.filter(pk=again).aupdate(stop_reason="refusal")
    await talk.ask("q4", "a")
    assert talk.sent() == ["q4"]
    assert (await talk.shown())[:2] == ["q1", "a3"]


async def test_the_head_moves_to_the_newest_continuation(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    _, a1 = await talk.ids()
    await talk.ask("q2", "a2")
    *_, q2, a2 = await talk.ids()
    await talk.ask("q3", "a3", parent_message_id=a1)
    *_, q3, a3 = await talk.ids()
    await talk.ask("q4", "a4", parent_message_id=a2)
    *_, a4 = await talk.ids()
    await talk.ask("q5", "a5", parent_message_id=a3)
    *_, a5 = await talk.ids()
    for message, head, last in (
        (q2, a4, "a4"),
        (a4, a4, "a4"),
        (q3, None, "a5"),
        (a5, None, "a5"),
        (a1, None, "a5"),
    ):
        response = await talk.go_to(message)
        assert response.status == 200
        assert response.json == await talk.read()
        assert response.json["head"] == head
        assert texts_of(response.json)[-1] == last
    listed = (await talk.api.get(f"{API}/conversations")).json["conversations"]
    assert [each["head"] for each in listed] == [None]


async def test_a_branch_is_read_in_parts_from_both_ends(talk: Talk) -> None:
    for number in range(3):
        await talk.ask(f"q{number}", f"a{number}")
    ids = await talk.ids()
    for number in (3, 4):
        await talk.ask(f"q{number}", f"a{number}", parent_message_id=ids[1])
        await talk.ask(f"r{number}", f"b{number}")
    whole = (await talk.read())["messages"]
    assert [m["parts"][0]["text"] for m in whole] == [
        "q0",
        "a0",
        "q4",
        "a4",
        "r4",
        "b4",
    ]
    for start in ("start", "end"):
        found: list[Any] = []
        query = f"?limit=1&from={start}"
        while query:
            part = await talk.read(query)
            assert len(part["runs"]) == 1
            found += part["messages"]
            cursor = part.get("next_cursor")
            query = f"?limit=1&cursor={cursor}" if cursor else ""
        assert found == (whole if start == "start" else whole[::-1])


async def test_the_parent_of_a_part_is_in_the_branch_that_is_shown(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    await talk.ask("q2", "a2")
    _, a1, _, a2 = await talk.ids()
    cursor = (await talk.read("?limit=3"))["next_cursor"]
    await talk.ask("q3", "a3", parent_message_id=a1)
    part = await talk.read(f"?cursor={cursor}")
    assert texts_of(part) == ["q3", "a3"]
    assert part["messages"][0]["parent_id"] == a1
    await talk.go_to(a2)
    part = await talk.read(f"?cursor={cursor}")
    assert [m["parent_id"] for m in part["messages"]] == [a2 - 1]
    await Message.objects.filter(pk=a2 - 1).adelete()
    part = await talk.read(f"?cursor={cursor}")
    assert [m["parent_id"] for m in part["messages"]] == [a1]


async def test_a_copy_has_the_branch_up_to_a_message(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    ids = await talk.ids()
    await talk.ask("q2", "a2")
    run_id = await talk.ask("q3", "a3", parent_message_id=ids[1])
    await talk.repeat(run_id, "a4")
    end = (await talk.ids())[-1]
    await talk.ask("q5", "a5")
    body = {"message_id": end, "conversation_id": "copy/1"}
    copied = await talk.post(f"conversation/fork?{C}", body)
    assert copied.status == 201
    assert (
        copied.json.keys()
        == (await talk.api.get(f"{API}/conversations")).json["conversations"][0].keys()
    )
    assert (copied.json["conversation_id"], copied.json["title"]) == ("copy/1", "q1")
    copy = (await talk.api.get(f"{API}/conversations/copy%2F1")).json
    assert texts_of(copy) == ["q1", "a1", "q3", "a4"]
    assert {m["run_id"] for m in copy["messages"]} == {None}
    last = copy["messages"][-1]["id"]
    await talk.ask("q6", "a6", conversation_id="copy/1")
    assert talk.sent() == ["q1", "a1", "q3", "a4", "q6"]
    second = copy["messages"][1]["id"]
    for parent, status in ((last, 200), (second, 200), (second + 1, 400)):
        body = {"input": "q", "conversation_id": "copy/1", "parent_message_id": parent}
        talk.upstream.reply(chat.answer("x"))
        assert (await talk.post("run", body)).status == status
    assert len(await talk.shown()) == 6
    found = await talk.api.get(f"{API}/conversations?search=q1")
    assert len(found.json["conversations"]) == 2


@pytest.mark.parametrize(("count", "size"), [(1998, 1), (10, 900_000)])
async def test_a_branch_that_is_too_long_is_not_copied(
    talk: Talk, count: int, size: int
) -> None:
    await talk.ask("q1", "a1")
    ids = await talk.ids()
    conversation = await Conversation.objects.aget()
    parts = parts_to_json([TextPart("x" * size)])
    await Message.objects.abulk_create(
        Message(conversation=conversation, role="user", parts=parts)
        for _ in range(count)
    )
    path, copied = f"conversation/fork?{C}", 201 if size == 1 else 400
    assert (await talk.post(path, {})).status == copied
    await talk.ask("q2", "a2")
    too_long = await talk.post(path, {})
    assert (too_long.status, too_long.json["details"][0]["field"]) == (
        400,
        "message_id",
    )
    assert (await talk.post(path, {"message_id": ids[-1]})).status == 201


async def test_a_copy_counts_for_the_limit_of_runs_in_a_minute(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    values = {"kind": "organization", "tokens_per_day": 0, "runs_per_minute": 1}
    await Limit.objects.acreate(**values)
    copies = [await talk.post(f"conversation/fork?{C}", {}) for _ in range(2)]
    assert [each.status for each in copies] == [201, 429]
    assert "runs_per_minute" in copies[1].json["error"]
    assert await Conversation.objects.acount() == 2


async def test_a_copy_by_default_ends_at_the_head(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    await talk.ask("q2", "a2", parent_message_id=None)
    for head, texts in ((None, ["q2", "a2"]), (1, ["q1", "a1"])):
        if head:
            first = await Message.objects.afirst()
            assert first
            await talk.go_to(first.pk)
        copied = (await talk.post(f"conversation/fork?{C}", {})).json
        path = f"{API}/conversations/{copied['conversation_id']}"
        assert texts_of((await talk.api.get(path)).json) == texts


async def test_refused_exchanges_are_not_copied(talk: Talk) -> None:
    for number in range(3):
        run_id = await talk.ask(f"q{number}", f"a{number}")
        if number == 1:
            await Run.objects.filter(pk=run_id).aupdate(stop_reason="refusal")
    copied = (await talk.post(f"conversation/fork?{C}", {})).json
    path = f"{API}/conversations/{copied['conversation_id']}"
    assert texts_of((await talk.api.get(path)).json) == ["q0", "a0", "q2", "a2"]


async def test_an_impossible_copy_is_explained(talk: Talk) -> None:
    await talk.ask("q1", "a1")
    q1, a1 = await talk.ids()
    path = f"conversation/fork?{C}"
    for body, status, code in (
        ({"message_id": a1, "conversation_id": "c"}, 400, "invalid_request"),
        ({"message_id": q1}, 400, "invalid_request"),
        ({"message_id": 10**9}, 404, "not_found"),
        ({"message_id": "1"}, 400, "invalid_request"),
        ({"conversation_id": ""}, 400, "invalid_request"),
        (None, 400, "invalid_json"),
    ):
        refused = await talk.post(path, body if body is not None else b"")
        assert (refused.status, refused.json["code"]) == (status, code)
    assert await Conversation.objects.acount() == 1
    refused = await talk.go_to(10**9)
    assert (refused.status, refused.json["code"]) == (404, "not_found")
    for operation in ("head", "fork"):
        refused = await talk.post(f"conversation/{operation}", {"message_id": a1})
        assert [d["field"] for d in refused.json["details"]] == ["conversation_id"]


async def test_a_new_title_is_shown_and_found(talk: Talk) -> None:
    await talk.ask("Why is the sky blue?", "a1")
    path = f"{API}/conversation?{C}"

    async def rename(title: object) -> Response:
        async with talk.api.open("PATCH", path, {"title": title}) as stream:
            return await stream.end()

    renamed = await rename("  Physics ")
    assert (renamed.status, renamed.json["title"]) == (200, "Physics")
    assert (await talk.read())["title"] == "Physics"
    for search, count in (("physics", 1), ("sky", 1), ("chemistry", 0)):
        found = await talk.api.get(f"{API}/conversations?search={search}")
        assert len(found.json["conversations"]) == count
    for title in ("", " ", "x" * 121, "a\nb", None, 1):
        refused = await rename(title)
        assert [d["field"] for d in refused.json["details"]] == ["title"]


async def test_charlie_changes_nothing_of_alice(talk: Talk) -> None:
    await talk.ask("q1", "a1", org_id="acme")
    message = await Message.objects.alast()
    run = await Run.objects.aget()
    assert message
    for method, path, body in (
        ("POST", "conversation/head", {"message_id": message.pk}),
        ("POST", "conversation/fork", {"message_id": message.pk}),
        ("PATCH", "conversation", {"title": "x"}),
    ):
        answers = []
        for name in ("c", "unknown"):
            query = f"?conversation_id={name}&org_id=umbrella"
            url = f"{API}/{path}{query}"
            async with talk.api.open(method, url, body) as stream:
                answers.append(await stream.end())
        refused, missing = answers
        assert refused.status == missing.status == 404
        assert refused.body == missing.body
    places: list[dict[str, object]] = [
        {"input": "q", "parent_message_id": message.pk},
        {"regenerate": run.pk},
    ]
    for place in places:
        foreign = {"conversation_id": "c", "org_id": "umbrella", **place}
        assert (await talk.post("run", foreign)).status == 400
    assert await Conversation.objects.acount() == 1


async def test_a_body_with_a_place_is_another_one_for_an_idempotency_key(
    talk: Talk,
) -> None:
    run_id = await talk.ask("q1", "a1")
    _, a1 = await talk.ids()
    body = {"input": "q2", "conversation_id": "c"}
    repeated = {"conversation_id": "c", "regenerate": run_id}
    path = f"{API}/run"
    for place in ({}, {"parent_message_id": None}, {"parent_message_id": a1}):
        talk.upstream.reply(chat.answer("x"))
        asked, key = {**body, **place}, str(place)
        first = await talk.api.post(path, asked, idempotency_key=key)
        again = await talk.api.post(path, asked, idempotency_key=key)
        assert first.json["run_id"] == again.json["run_id"]
        other = await talk.api.post(path, repeated, idempotency_key=key)
        assert other.json["code"] == "idempotency_conflict"
    assert await Run.objects.acount() == 4
