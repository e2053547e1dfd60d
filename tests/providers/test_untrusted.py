"""Responses that no API describes: numbers, types, and errors in place of a stream."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)
from streaming.messages import Message, TextPart, ToolCallPart, ToolResultPart
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ResponseEnd,
    TextDelta,
    TokenUsage,
)
from streaming.providers.limits import MAX_COUNT, count
from streaming.testing.provider import Reply, StandInProvider
from tests.fuzz.streams import APIS, Api, good_stream
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai
from tests.providers.openai_streams import DONE, chunk, chunks, fragment

each_api = pytest.mark.parametrize("api", APIS)


async def deltas_of(
    upstream: StandInProvider, api: Api, *replies: Reply | bytes, **options: float
) -> list[Delta]:
    """The deltas of one call that is answered with the replies."""
    upstream.reply(*(Reply(r) if isinstance(r, bytes) else r for r in replies))
    if api == "messages":
        async with anthropic.anthropic_at(upstream, **options) as provider:
            return await anthropic.read(provider)
    async with openai.openai_at(upstream, api, **options) as provider:
        return await openai.read(provider)


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def document(value: object, status: int = 200) -> Reply:
    return Reply(json.dumps(value).encode(), status, "application/json")


# Numbers


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (5, 5),
        (5.9, 5),
        (-35, 0),
        (2**31, MAX_COUNT),
        (10**400, MAX_COUNT),
        (float("inf"), MAX_COUNT),
        (float("-inf"), 0),
        (float("nan"), 0),
        ("5", 0),
        (None, 0),
        ([5], 0),
    ],
)
def test_a_count_fits_the_database(number: object, expected: int) -> None:
    assert count(number) == expected


def usage_body(api: Api, sent: object, received: object) -> bytes:
    """A response that reports these numbers of tokens."""
    match api:
        case "chat":
            usage = {"prompt_tokens": sent, "completion_tokens": received}
            end = {"choices": [], "usage": usage}
            return chunks(chunk("stop", content="Hi"), end) + DONE
        case "responses":
            usage = {"input_tokens": sent, "output_tokens": received}
            return openai.events(*openai.text_deltas("Hi"), openai.ended(usage=usage))
        case "messages":
            usage = {"input_tokens": sent, "output_tokens": received}
            return anthropic.message(anthropic.text_block(0, "Hi"), usage=usage)


@each_api
@pytest.mark.parametrize(
    ("sent", "received", "expected"),
    [
        (-1, -35, TokenUsage(0, 0)),
        (2**40, 1e300, TokenUsage(MAX_COUNT, MAX_COUNT)),
        ("many", [1], TokenUsage(0, 0)),
        ({}, 10**30, TokenUsage(0, MAX_COUNT)),
    ],
)
async def test_counts_of_any_kind_do_no_harm(
    upstream: StandInProvider,
    api: Api,
    sent: object,
    received: object,
    expected: TokenUsage,
) -> None:
    deltas = await deltas_of(upstream, api, usage_body(api, sent, received))
    assert text(deltas) == "Hi"
    usages = [delta for delta in deltas if isinstance(delta, TokenUsage)]
    assert usages[-1] == expected


async def test_usage_that_is_no_object_is_ignored(upstream: StandInProvider) -> None:
    body = chunks(chunk("stop", content="Hi") | {"usage": [7]}) + DONE
    deltas = await deltas_of(upstream, "chat", body)
    assert deltas == [TextDelta("Hi"), ResponseEnd("end_turn")]


async def test_reasoning_that_the_output_omits_is_added(
    upstream: StandInProvider,
) -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "completion_tokens_details": {"reasoning_tokens": 90},
    }
    body = chunks(chunk("stop", content="Hi"), {"choices": [], "usage": usage}) + DONE
    deltas = await deltas_of(upstream, "chat", body)
    assert TokenUsage(5, 97, 90) in deltas


# Types


ODD_CHUNKS: dict[str, Any] = {
    "a finish reason that is a number": chunk() | {"choices": [{"finish_reason": 5}]},
    "an index that is a text": {"choices": [{"index": "", "delta": {}}]},
    "a call's index that is a list": chunk(
        tool_calls=[{"index": [0], "id": 7, "function": {"name": 5, "arguments": 5}}]
    ),
    "an object as content": chunk(content={"text": "no"}),
    "reasoning in an object": chunk(reasoning={"text": "no"}),
}


@pytest.mark.parametrize("oddity", ODD_CHUNKS)
async def test_a_chunk_may_have(upstream: StandInProvider, oddity: str) -> None:
    body = chunks(ODD_CHUNKS[oddity], chunk("stop", content="Hi")) + DONE
    assert text(await deltas_of(upstream, "chat", body)) == "Hi"


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "content": "no"},
        {"type": "message", "content": [5, {"text": 5}]},
        {"type": "reasoning", "summary": 5},
        {"type": 5},
        {"type": "message", "phase": {"a": "b"}},
    ],
)
async def test_an_item_may_have_other_types(
    upstream: StandInProvider, item: dict[str, Any]
) -> None:
    added = openai.event("output_item.added", 5, item=item)
    body = openai.events(
        added, openai.item_done(item, 5), *openai.text_deltas("Hi"), openai.ended()
    )
    assert text(await deltas_of(upstream, "responses", body)) == "Hi"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": {"a": "b"}},
        {"type": "tool_use", "id": "toolu_1", "input": {}},
        {"type": "tool_use", "id": [], "name": 5, "input": 5},
        {"type": "thinking", "thinking": 5, "signature": 5},
        {"type": 5},
        {"no": "type"},
    ],
)
async def test_a_block_may_have_other_types(
    upstream: StandInProvider, block: dict[str, Any]
) -> None:
    body = anthropic.message(anthropic.block(0, block), anthropic.text_block(1, "Hi"))
    deltas = await deltas_of(upstream, "messages", body)
    assert text(deltas) == "Hi"
    assert not any(isinstance(delta, ToolCallPart) for delta in deltas)


async def test_numbers_that_json_cannot_hold_are_removed_from_opaque_parts(
    upstream: StandInProvider,
) -> None:
    item = openai.reasoning_item(big=10**30, small=5)
    body = openai.events(
        openai.item_done(item), *openai.text_deltas("Hi", index=1), openai.ended()
    )
    deltas = await deltas_of(upstream, "responses", body)
    assert deltas[0].opaque == item | {"big": None}  # type: ignore[union-attr]


async def test_opaque_parts_that_are_nested_too_deeply_are_an_error(
    upstream: StandInProvider,
) -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    body = openai.events(openai.item_done(openai.reasoning_item(deep=deep)))
    with pytest.raises(ProviderError, match="cannot be read"):
        await deltas_of(upstream, "responses", body)


async def test_arguments_nested_too_deeply_are_no_object(
    upstream: StandInProvider,
) -> None:
    arguments = '{"a":' * 1500 + "1" + "}" * 1500
    call = fragment(arguments, id="call_1", name="weather")
    deltas = await deltas_of(upstream, "chat", chunks(call, chunk("length")) + DONE)
    assert deltas == [ResponseEnd("max_tokens")]


@each_api
async def test_names_and_ids_of_any_length_are_shortened(
    upstream: StandInProvider, api: Api
) -> None:
    name, id = "n" * 10_000, "i" * 10_000
    match api:
        case "chat":
            body = chunks(fragment("{}", id=id, name=name), chunk("stop")) + DONE
        case "responses":
            item = openai.call_item("{}", id, name)
            body = openai.events(openai.item_done(item), openai.ended())
        case "messages":
            block = anthropic.tool_block(0, id, name, "{}")
            body = anthropic.message(block, stop="tool_use")
    [call, *_] = (
        delta
        for delta in await deltas_of(upstream, api, body)
        if isinstance(delta, ToolCallPart)
    )
    assert name.startswith(call.name)
    assert len(call.name) < 300
    assert 0 < len(call.id) < 300


async def test_a_call_that_is_sent_twice_is_one(upstream: StandInProvider) -> None:
    item = openai.item_done(openai.call_item('{"city":"Rome"}'))
    body = openai.events(item, item, openai.ended())
    deltas = await deltas_of(upstream, "responses", body)
    assert deltas == [
        ToolCallPart("call_1", "weather", '{"city":"Rome"}'),
        ResponseEnd("tool_use"),
    ]


# Messages in place of deltas, and the end of a stream


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
async def test_a_message_stands_for_its_deltas(
    upstream: StandInProvider, content_type: str
) -> None:
    message = {
        "role": "assistant",
        "reasoning_content": "Hm.",
        "content": "Looking.",
        "tool_calls": [
            {"id": "a", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
        ],
    }
    choice = {"message": message, "finish_reason": "tool_calls"}
    completion = {"choices": [choice], "usage": {"prompt_tokens": 3}}
    reply = (
        document(completion)
        if content_type == "application/json"
        else Reply(chunks(completion) + DONE)
    )
    deltas = await deltas_of(upstream, "chat", reply)
    assert text(deltas) == "Looking."
    assert ToolCallPart("a", "weather", '{"city":"Rome"}') in deltas
    assert deltas[-1] == ResponseEnd("tool_use")


async def test_messages_may_come_in_pieces(upstream: StandInProvider) -> None:
    pieces = [{"choices": [{"message": {"content": text}}]} for text in ("Hel", "lo")]
    body = chunks(*pieces, chunk("stop")) + DONE
    assert text(await deltas_of(upstream, "chat", body)) == "Hello"


async def test_a_message_after_its_deltas_is_not_repeated(
    upstream: StandInProvider,
) -> None:
    whole = {"message": {"content": "Hello"}, "delta": {}, "finish_reason": "stop"}
    body = chunks(chunk(content="Hel"), chunk(content="lo"), {"choices": [whole]})
    assert text(await deltas_of(upstream, "chat", body + DONE)) == "Hello"


async def test_a_reason_and_usage_with_every_chunk_are_no_end(
    upstream: StandInProvider,
) -> None:
    sent = [
        chunk("stop", content=word)
        | {"usage": {"prompt_tokens": 9, "completion_tokens": number}}
        for number, word in enumerate(("a", "b", "c"), 1)
    ]
    deltas = await deltas_of(upstream, "chat", chunks(*sent))
    assert text(deltas) == "abc"
    assert deltas[-1] == ResponseEnd("end_turn")
    assert [d for d in deltas if isinstance(d, TokenUsage)][-1] == TokenUsage(9, 3)


async def test_usage_without_choices_is_the_end(upstream: StandInProvider) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    body = chunks(chunk("stop", content="Hi"), usage)
    deltas = await deltas_of(upstream, "chat", Reply(body, end="hang"))
    assert deltas[-1] == ResponseEnd("end_turn")


@pytest.mark.parametrize(
    ("finish", "expected"),
    [("STOP", "end_turn"), ("MAX_TOKENS", "max_tokens"), ("SAFETY", "refusal")],
)
async def test_reasons_may_be_in_upper_case(
    upstream: StandInProvider, finish: str, expected: str
) -> None:
    body = chunks(chunk(finish, content="Hi")) + DONE
    deltas = await deltas_of(upstream, "chat", body)
    assert deltas[-1].stop_reason == expected  # type: ignore[union-attr]


# Empty responses


EMPTY: Mapping[Api, bytes] = {
    "chat": chunks(chunk("stop", role="assistant", content="")) + DONE,
    "responses": openai.events(openai.ended()),
    "messages": anthropic.message(),
}


@each_api
async def test_an_empty_response_is_requested_again(
    upstream: StandInProvider, api: Api
) -> None:
    deltas = await deltas_of(
        upstream, api, EMPTY[api], good_stream(api), llm_max_retries=1
    )
    assert text(deltas) == "Good"


@each_api
async def test_an_empty_response_is_an_error(
    upstream: StandInProvider, api: Api
) -> None:
    with pytest.raises(ProviderError, match="empty response") as failure:
        await deltas_of(upstream, api, EMPTY[api])
    assert failure.value.retryable


@pytest.mark.parametrize("finish", ["stop", "length", "malformed_function_call", None])
async def test_an_empty_response_is_an_error_with_any_reason(
    upstream: StandInProvider, finish: str | None
) -> None:
    with pytest.raises(ProviderError, match="empty response"):
        await deltas_of(upstream, "chat", chunks(chunk(finish)) + DONE)


async def test_a_model_that_has_written_may_add_nothing_to_results(
    upstream: StandInProvider,
) -> None:
    call = ToolCallPart("toolu_1", "weather", "{}")
    exchange = [
        *anthropic.HELLO.messages,
        Message("assistant", [TextPart("Rome is warm."), call]),
        Message("tool", [ToolResultPart("toolu_1", "weather", "noted")]),
    ]
    request = ModelRequest("", exchange)
    empty = Reply(EMPTY["messages"])
    deltas = await anthropic.deltas_of(upstream, empty, request=request)
    assert deltas[-1] == ResponseEnd("end_turn")


async def test_hidden_reasoning_is_not_requested_again(
    upstream: StandInProvider,
) -> None:
    details = {"reasoning_tokens": 900}
    usage = {"completion_tokens": 900, "completion_tokens_details": details}
    body = chunks(chunk("length"), {"choices": [], "usage": usage}) + DONE
    deltas = await deltas_of(upstream, "chat", body, llm_max_retries=2)
    assert deltas[-1] == ResponseEnd("max_tokens")
    assert len(upstream.requests) == 1


# Errors in place of a stream


FORMS: Mapping[str, Callable[[str, int], bytes]] = {
    "an error in a document": lambda message, code: json.dumps(
        {"error": {"message": message, "code": code}}
    ).encode(),
    "a list": lambda message, code: json.dumps(
        [{"error": {"message": message, "code": code}}]
    ).encode(),
    "a code as text": lambda message, code: json.dumps(
        {"error": {"message": message, "code": str(code)}}
    ).encode(),
    "a code beside the error": lambda message, code: json.dumps(
        {"error": message, "status": code}
    ).encode(),
    "an object": lambda message, code: json.dumps(
        {"object": "error", "message": message, "code": code}
    ).encode(),
    "an event without a type": lambda message, code: (
        b"data: "
        + json.dumps({"error": {"message": message, "code": code}}).encode()
        + b"\n\n"
    ),
    "an event of that type": lambda message, code: (
        b"event: error\ndata: "
        + json.dumps({"type": "error", "message": message, "code": code}).encode()
        + b"\n\n"
    ),
    "a field of that name": lambda message, code: (
        b"error: " + json.dumps({"message": message, "code": code}).encode() + b"\n\n"
    ),
}


@each_api
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, ProviderError),
        (401, ProviderRefusedKey),
        (402, ProviderRateLimited),
        (404, ProviderError),
    ],
)
async def test_an_error_with_status_200_is_that_error_and_not_repeated(
    upstream: StandInProvider,
    api: Api,
    form: str,
    code: int,
    kind: type[ProviderError],
) -> None:
    body = FORMS[form]("No, sk-secret.", code)
    with pytest.raises(ProviderError) as failure:
        await deltas_of(upstream, api, body, llm_max_retries=2)
    assert type(failure.value) is kind
    assert not failure.value.retryable
    assert "secret" not in failure.value.message
    assert len(upstream.requests) == 1


@each_api
@pytest.mark.parametrize("form", [*FORMS][::3])
async def test_a_transient_error_with_status_200_is_retried(
    upstream: StandInProvider, api: Api, form: str
) -> None:
    deltas = await deltas_of(
        upstream, api, FORMS[form]("Busy.", 503), good_stream(api), llm_max_retries=1
    )
    assert text(deltas) == "Good"


@each_api
@pytest.mark.parametrize(
    "value",
    [
        {"error": "Something broke."},
        {"detail": "Not authenticated"},
        {"detail": [{"msg": "field required"}]},
        {"status": "ok", "answer": "42"},
        [],
    ],
)
async def test_a_document_without_a_code_is_an_error_and_not_repeated(
    upstream: StandInProvider, api: Api, value: object
) -> None:
    with pytest.raises(ProviderError):
        await deltas_of(upstream, api, document(value), llm_max_retries=2)
    assert len(upstream.requests) == 1


@each_api
@pytest.mark.parametrize("body", [b"<!DOCTYPE html>\n<p>Log in</p>\n\n", b"Hello!\n"])
async def test_a_page_is_an_error_that_names_the_address(
    upstream: StandInProvider, api: Api, body: bytes
) -> None:
    with pytest.raises(ProviderError, match="check its URL") as failure:
        await deltas_of(
            upstream, api, Reply(body, content_type="text/html"), llm_max_retries=2
        )
    assert failure.value.code == "provider_error"
    assert len(upstream.requests) == 1


@each_api
async def test_a_document_that_was_cut_off_is_incomplete(
    upstream: StandInProvider, api: Api
) -> None:
    with pytest.raises(ProviderIncomplete) as failure:
        await deltas_of(upstream, api, b'{"choices": [{"mess')
    assert failure.value.retryable


@each_api
@pytest.mark.parametrize(
    ("status", "message"),
    [(402, "Pay."), (403, "Insufficient Balance"), (400, "Insufficient credits")],
)
async def test_a_missing_payment_is_named(
    upstream: StandInProvider, api: Api, status: int, message: str
) -> None:
    reply = document({"error": {"message": message}}, status)
    with pytest.raises(ProviderRateLimited, match="credit") as failure:
        await deltas_of(upstream, api, reply, llm_max_retries=2)
    assert not failure.value.retryable
    assert len(upstream.requests) == 1


async def test_an_error_in_a_choice_is_one(upstream: StandInProvider) -> None:
    choice = {"delta": {}, "error": {"code": 429, "message": "Slower."}}
    with pytest.raises(ProviderRateLimited):
        await deltas_of(upstream, "chat", chunks({"choices": [choice]}))


@each_api
async def test_an_error_response_without_an_end_is_cut_off(
    upstream: StandInProvider, api: Api
) -> None:
    endless = Reply(b'{"error": "' + b"x" * 10_000_000, 500, "application/json")
    with pytest.raises(ProviderError):
        await asyncio.wait_for(deltas_of(upstream, api, endless), 10)


# Liveness


CALL_BEGUN: Mapping[Api, bytes] = {
    "chat": chunks(fragment('{"ci', id="a", name="weather")),
    "responses": openai.events(
        openai.event("function_call_arguments.delta", delta='{"ci')
    ),
    "messages": anthropic.sse(
        anthropic.start(),
        *anthropic.tool_block(0, "a", "weather", '{"ci', stopped=False),
    ),
}
REASONING_BEGUN: Mapping[Api, bytes] = {
    "chat": chunks(chunk(reasoning_content="Hm")),
    "responses": openai.events(
        openai.event("output_item.added", item=openai.reasoning_item())
    ),
    "messages": anthropic.sse(
        anthropic.start(),
        *anthropic.block(0, {"type": "thinking", "thinking": ""}, stopped=False),
    ),
}
SIGNS_OF_LIFE: Mapping[Api, bytes] = {
    "chat": b": keep-alive\n\n" + chunks(chunk(role="assistant", content="")),
    "responses": openai.events({"type": "response.created"}, {"type": "keepalive"}),
    "messages": anthropic.sse(anthropic.start(), anthropic.PING),
}


@each_api
@pytest.mark.parametrize("begun", [CALL_BEGUN, REASONING_BEGUN])
@pytest.mark.parametrize("end", ["cut", "close", "hang"])
async def test_tokens_that_were_produced_are_not_requested_again(
    upstream: StandInProvider, api: Api, begun: Mapping[Api, bytes], end: str
) -> None:
    reply = Reply(begun[api], end=end)  # type: ignore[arg-type]
    with pytest.raises(ProviderIncomplete if end != "hang" else ProviderTimeout):
        await deltas_of(
            upstream,
            api,
            reply,
            good_stream(api),
            llm_max_retries=2,
            llm_first_token_timeout_seconds=5,
            llm_silence_timeout_seconds=0.2,
        )
    assert len(upstream.requests) == 1


@each_api
async def test_signs_of_life_are_no_output(upstream: StandInProvider, api: Api) -> None:
    deltas = await deltas_of(
        upstream,
        api,
        Reply(SIGNS_OF_LIFE[api], end="cut"),
        good_stream(api),
        llm_max_retries=1,
    )
    assert text(deltas) == "Good"
