"""Tool loops over OpenAI's two APIs: the second request has all that it needs."""

from typing import Any

from streaming.messages import Message, ToolCallPart, ToolResultPart, user_message
from streaming.providers.base import Delta, ModelRequest, Provider, ResponseEnd
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.openai_streams import (
    DONE,
    WEATHER,
    Api,
    call_item,
    chunk,
    chunks,
    ended,
    event,
    events,
    fragment,
    item_done,
    joined,
    openai_at,
    read,
    reasoning_item,
    text,
    text_deltas,
    thinking_deltas,
)

QUESTION = "Where is it warmer, in Rome or in Oslo?"
ROME = '{"city":"Rome"}'
OSLO = '{"city":"Oslo"}'


def run_tools(message: Message) -> Message:
    """Each call answered with its own arguments."""
    return Message(
        "tool",
        [ToolResultPart(c.id, c.name, f"of {c.arguments}") for c in message.tool_calls],
    )


async def loop(provider: Provider) -> list[Delta]:
    """Call the model until it calls no more tools; return the last deltas."""
    messages = [user_message(QUESTION)]
    while True:
        request = ModelRequest("Be brief.", messages, [WEATHER])
        deltas = await read(provider, request)
        if deltas[-1] != ResponseEnd("tool_use"):
            return deltas
        message = joined(deltas).message
        messages += [message, run_tools(message)]


async def second_request(upstream: StandInProvider, api: Api, *bodies: bytes) -> Any:  # noqa: ANN401
    """Run a loop to its regular end; return the body of its second request."""
    upstream.reply(*map(Reply, bodies))
    async with openai_at(upstream, api) as provider:
        assert text(await loop(provider)) == "In Rome."
    first, second = (request.json for request in upstream.requests)
    key = "input" if api == "responses" else "messages"
    before = first.pop(key)
    after = second.pop(key)
    assert second == first
    assert after[: len(before)] == before
    return after[len(before) :]


async def test_responses_get_their_reasoning_their_calls_and_the_results(
    upstream: StandInProvider,
) -> None:
    summary = [{"type": "summary_text", "text": "Two cities."}]
    reasoning = reasoning_item(encrypted="gAAAAB-whole", summary=summary)
    opening = reasoning_item(encrypted="gAAAAB-not-whole")
    added = await second_request(
        upstream,
        "responses",
        events(
            event("output_item.added", 0, item=opening),
            *thinking_deltas("Two ", "cities."),
            item_done(reasoning, 0),
            *text_deltas("Let me look.", index=1),
            event("function_call_arguments.delta", 2, delta=ROME),
            item_done(call_item(ROME, "call_1"), 2),
            item_done(call_item(OSLO, "call_2"), 3),
            ended(),
        ),
        events(*text_deltas("In Rome."), ended()),
    )
    call = {"type": "function_call", "name": "weather"}
    output = {"type": "function_call_output"}
    assert added == [
        reasoning,
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me look."}],
        },
        call | {"call_id": "call00001", "arguments": ROME},
        call | {"call_id": "call00002", "arguments": OSLO},
        output | {"call_id": "call00001", "output": f"of {ROME}"},
        output | {"call_id": "call00002", "output": f"of {OSLO}"},
    ]


async def test_chat_gets_its_calls_and_a_message_for_each_result(
    upstream: StandInProvider,
) -> None:
    added = await second_request(
        upstream,
        "chat",
        chunks(
            chunk(content="Let me look."),
            fragment(index=0, id="call_1", name="weather"),
            fragment(ROME, index=0),
            fragment(OSLO, index=1, id="call_2", name="weather"),
            chunk("tool_calls"),
        )
        + DONE,
        chunks(chunk("stop", content="In Rome.")),
    )
    first = {"name": "weather", "arguments": ROME}
    second = {"name": "weather", "arguments": OSLO}
    assert added == [
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": "call00001", "type": "function", "function": first},
                {"id": "call00002", "type": "function", "function": second},
            ],
        },
        {"role": "tool", "tool_call_id": "call00001", "content": f"of {ROME}"},
        {"role": "tool", "tool_call_id": "call00002", "content": f"of {OSLO}"},
    ]


async def test_chat_gets_its_open_reasoning_and_the_ids_that_we_made(
    upstream: StandInProvider,
) -> None:
    assistant, result = await second_request(
        upstream,
        "chat",
        chunks(
            chunk(reasoning_content="Rome is "),
            chunk(reasoning_content="south."),
            fragment(ROME, name="weather"),
        )
        + DONE,
        chunks(chunk("stop", content="In Rome.")),
    )
    assert assistant["reasoning_content"] == "Rome is south."
    assert assistant["content"] is None
    [call] = assistant["tool_calls"]
    assert result["tool_call_id"] == call["id"] != ""


async def test_a_call_from_another_provider_can_have_its_result_here(
    upstream: StandInProvider,
) -> None:
    call = ToolCallPart("toolu_01", "weather", ROME)
    messages = [user_message(QUESTION), Message("assistant", [call])]
    messages.append(run_tools(messages[-1]))
    upstream.reply(Reply(events(*text_deltas("In Rome."), ended())))
    async with openai_at(upstream, "responses") as provider:
        await read(provider, ModelRequest("", messages, [WEATHER]))
    call, result = upstream.requests[0].json["input"][1:]
    assert call["call_id"] == result["call_id"] == "call00001"
