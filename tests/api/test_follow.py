"""A stream in a wire format of its own: one class, and one call of `follow`."""

import pytest

from streaming.api.follow import follow
from streaming.principals import Principal
from streaming.runs import store
from streaming.storage import database
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.client import Api
from tests.wire.merged_lines import MergedLines

pytestmark = pytest.mark.usefixtures("model")


async def test_a_run_is_followed_and_resumed_in_another_format(
    api: Api, upstream: StandInProvider
) -> None:
    call = chat.tool_calls(("c", "calculator", {"expression": "1+1"}), text="I count.")
    upstream.reply(call, chat.answer("That ", "is ", "2."))
    run_id = (await api.stream("Hi")).headers["x-run-id"]
    run = await database.execute_read(store.get_run, run_id, Principal("default"))
    greeting, *rest = [chunk async for chunk in follow(run, MergedLines())]
    assert greeting == f"run {run_id}\n".encode()
    lines = b"".join(rest).splitlines(keepends=True)
    assert lines[0] == b'[1,"text","I count."]\n'
    assert b'"text","That is 2."' in b"".join(lines)
    for k in range(len(lines)):
        resumed = [chunk async for chunk in follow(run, MergedLines(), cursor=k)]
        assert b"".join(resumed) == b"".join(lines[k:])
