"""Structured output on the wire: schemas where an API takes them, else a final tool."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, Field

from streaming.agent.output import NAME, OutputType
from streaming.messages import ToolCallPart, ToolSpec
from streaming.providers.base import (
    ModelRequest,
    Provider,
    ResponseEnd,
    TextDelta,
)
from streaming.providers.output import INSTRUCTIONS
from streaming.providers.schemas import is_recursive, strict
from streaming.providers.token_estimate import request_tokens
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.providers import anthropic_streams, openai_streams
from tests.providers.anthropic_streams import anthropic_at, read
from tests.providers.openai_streams import openai_at


class Triage(BaseModel):
    """A sorted question."""

    urgent: bool
    topic: Literal["order", "invoice", "other"] = "other"
    score: int = Field(default=1, ge=1, le=5, description="From low to high.")


TRIAGE: OutputType[Triage] = OutputType(Triage)
GOOD = '{"urgent": true, "topic": "order", "score": 2}'
REQUEST = ModelRequest(
    "Sort.", anthropic_streams.HELLO.messages, [anthropic_streams.WEATHER],
    output=TRIAGE.spec,
)  # fmt: skip
LAST = ModelRequest(
    "Sort.", REQUEST.messages, REQUEST.tools, allow_tools=False, output=TRIAGE.spec
)

Body = dict[str, Any]


class Wire(NamedTuple):
    """One API: its provider, its answers, and the parts of its requests."""

    provider: Callable[[StandInProvider], Any]
    text: Callable[[str], bytes]
    call: Callable[[str], bytes]
    schema: Callable[[Body], Any]
    tools: Callable[[Body], list[str]]


def _chat(upstream: StandInProvider) -> Any:  # noqa: ANN401
    return openai_at(upstream, "chat", llm_model="m")


def _responses(upstream: StandInProvider) -> Any:  # noqa: ANN401
    return openai_at(upstream, "responses", llm_model="m")


def _messages(upstream: StandInProvider) -> Any:  # noqa: ANN401
    return anthropic_at(upstream, llm_model="claude-sonnet-5-5")


def _responses_text(text: str) -> bytes:
    return openai_streams.events(
        *openai_streams.text_deltas(text), openai_streams.ended()
    )


def _responses_call(arguments: str) -> bytes:
    item = openai_streams.call_item(arguments, name=NAME)
    return openai_streams.events(openai_streams.item_done(item), openai_streams.ended())


def _messages_call(arguments: str) -> bytes:
    block = anthropic_streams.tool_block(0, "1", NAME, arguments)
    return anthropic_streams.message(block, stop="tool_use")


WIRES = {
    "chat": Wire(
        _chat,
        lambda text: chat.answer(text).body,
        lambda arguments: chat.tool_calls(("1", NAME, arguments)).body,
        lambda body: body.get("response_format", {}).get("json_schema"),
        lambda body: [t["function"]["name"] for t in body.get("tools", ())],
    ),
    "responses": Wire(
        _responses,
        _responses_text,
        _responses_call,
        lambda body: body.get("text", {}).get("format"),
        lambda body: [tool["name"] for tool in body.get("tools", ())],
    ),
    "messages": Wire(
        _messages,
        lambda text: anthropic_streams.message(anthropic_streams.text_block(0, text)),
        _messages_call,
        lambda body: body.get("output_config", {}).get("format"),
        lambda body: [tool["name"] for tool in body.get("tools", ())],
    ),
}

#: Refusals of schemas in the words of servers.
REFUSALS = (
    {"error": {"message": "Unknown parameter: 'response_format'.", "param": None}},
    {"error": {"message": "This response_format type is unavailable now"}},
    {"error": {"message": "Model does not support json_schema", "code": 400}},
    {"error": {"message": "Invalid schema for response_format 'final_output': x"}},
    {"error": {"message": "Cannot use custom grammar constraints with tools."}},
    {
        "error": {
            "message": "Function calling with a response mime type: "
            "'application/json' is unsupported"
        }
    },
    {"error": {"message": "json mode cannot be combined with tool/function calling"}},
    {"error": {"message": "This model does not support structured outputs."}},
    {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "output_config.format.schema: For 'object' type, "
            "'additionalProperties' must be false",
        },
    },
    {
        "detail": [
            {
                "type": "extra_forbidden",
                "loc": ["body", "response_format"],
                "msg": "Extra inputs are not permitted",
            }
        ]
    },
)


@asynccontextmanager
async def server(wire: Wire) -> AsyncIterator[tuple[StandInProvider, Provider]]:
    async with StandInProvider() as upstream, wire.provider(upstream) as provider:
        yield upstream, provider


def refusal(body: object, status: int = 400) -> Reply:
    return Reply(json.dumps(body).encode(), status, "application/json")


wires = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)


@wires
async def test_an_api_with_schemas_receives_one(wire: Wire) -> None:
    async with server(wire) as (upstream, provider):
        upstream.reply(Reply(wire.text(GOOD)))
        deltas = await read(provider, REQUEST)
        assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == GOOD
        body = upstream.requests[0].json
        fields = wire.schema(body)
        assert fields["schema"]["properties"].keys() == {"urgent", "topic", "score"}
        assert fields["schema"]["additionalProperties"] is False
        assert fields.get("strict", True) is True
        assert wire.tools(body) == ["weather"]


@wires
async def test_a_request_without_an_output_has_no_trace_of_it(wire: Wire) -> None:
    async with server(wire) as (upstream, provider):
        upstream.reply(Reply(wire.text("Hi")))
        await read(provider, ModelRequest("", REQUEST.messages, REQUEST.tools))
        body = upstream.requests[0].json
        assert wire.schema(body) is None
        assert NAME not in upstream.requests[0].body.decode()
        assert "text" not in body


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda body: json.dumps(body)[:60])
@wires
async def test_a_refused_schema_becomes_a_final_tool(
    wire: Wire, refused: object
) -> None:
    async with server(wire) as (upstream, provider):
        upstream.reply(refusal(refused), Reply(wire.call(GOOD)), Reply(wire.call(GOOD)))
        for sent in (2, 3):
            deltas = await read(provider, REQUEST)
            [call] = [d for d in deltas if isinstance(d, ToolCallPart)]
            assert (call.name, json.loads(call.arguments)) == (NAME, json.loads(GOOD))
            assert len(upstream.requests) == sent  # the refusal is remembered
            body = upstream.requests[-1].json
            assert wire.schema(body) is None
            assert wire.tools(body) == ["weather", NAME]


@wires
async def test_in_the_last_iteration_the_final_tool_is_the_only_one(
    wire: Wire,
) -> None:
    async with server(wire) as (upstream, provider):
        upstream.reply(refusal(REFUSALS[0]), Reply(wire.call(GOOD)))
        assert (await read(provider, LAST))[-1] == ResponseEnd("tool_use")
        body = upstream.requests[-1].json
        assert wire.tools(body) == [NAME]
        assert "none" not in json.dumps(body.get("tool_choice"))


@wires
async def test_without_schemas_and_tools_the_model_is_told(wire: Wire) -> None:
    no_tools = {"error": {"message": "This model does not support tools."}}
    async with server(wire) as (upstream, provider):
        upstream.reply(refusal(REFUSALS[0]), refusal(no_tools), Reply(wire.text(GOOD)))
        await read(provider, REQUEST)
        body = upstream.requests[-1].json
        assert wire.schema(body) is None
        assert wire.tools(body) == []
        sent = upstream.requests[-1].body.decode()
        assert INSTRUCTIONS in sent
        assert "Sort." in sent


@wires
async def test_a_refused_tool_schema_costs_no_more_than_one_request(wire: Wire) -> None:
    """An error about a tool's schema may be taken for one about the answer's."""
    about_tools = {"error": {"message": "tools[0]: invalid schema", "param": "tools"}}
    async with server(wire) as (upstream, provider):
        upstream.reply(
            refusal(about_tools), refusal(about_tools), Reply(wire.call(GOOD))
        )
        deltas = await read(provider, REQUEST)
        assert deltas[-1] == ResponseEnd("tool_use")


async def test_the_model_of_another_vendor_receives_a_final_tool() -> None:
    async with StandInProvider() as upstream:
        upstream.reply(Reply(_messages_call(GOOD)))
        async with anthropic_at(upstream, llm_model="glm-5") as provider:
            await read(provider, REQUEST)
        body = upstream.requests[0].json
        assert "output_config" not in body
        assert [tool["name"] for tool in body["tools"]] == ["weather", NAME]


async def test_the_effort_of_claude_stays_beside_the_schema() -> None:
    async with StandInProvider() as upstream:
        upstream.reply(Reply(WIRES["messages"].text(GOOD)))
        async with anthropic_at(upstream, llm_thinking="low") as provider:
            await read(provider, REQUEST)
        config = upstream.requests[0].json["output_config"]
        assert config.keys() == {"effort", "format"}


class Tree(BaseModel):
    children: list["Tree"] = []


class Anything(BaseModel):
    values: dict[str, int]


@pytest.mark.parametrize("kind", [Tree, Anything, dict[str, int], tuple[int, str]])
async def test_claude_receives_a_tool_for_a_schema_that_it_does_not_take(
    kind: Any,  # noqa: ANN401
) -> None:
    output: OutputType[Any] = OutputType(kind)
    request = ModelRequest("", REQUEST.messages, output=output.spec)
    async with StandInProvider() as upstream:
        upstream.reply(Reply(_messages_call("{}")))
        async with anthropic_at(upstream) as provider:
            await read(provider, request)
        body = upstream.requests[0].json
        assert "output_config" not in body
        assert body["tools"][0]["input_schema"] == output.schema


@pytest.mark.parametrize("kind", [Anything, dict[str, int], tuple[int, str], Any])
async def test_openai_describes_a_schema_that_it_cannot_enforce(kind: Any) -> None:  # noqa: ANN401
    output: OutputType[Any] = OutputType(kind)
    request = ModelRequest("", REQUEST.messages, output=output.spec)
    async with StandInProvider() as upstream:
        upstream.reply(chat.answer("{}"))
        async with openai_at(upstream, "chat") as provider:
            await read(provider, request)
        fields = upstream.requests[0].json["response_format"]["json_schema"]
        assert fields == {"name": NAME, "schema": output.schema, "strict": False}


class _Untaught:
    """A provider of another package, which does not know of outputs."""

    name = "untaught"
    model = "m"

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Any]]:
        self.requests.append(request)
        yield [ToolCallPart("1", NAME, GOOD), ResponseEnd("tool_use")]

    async def aclose(self) -> None:
        """Close nothing."""


async def test_a_provider_that_does_not_know_of_outputs_receives_a_tool() -> None:
    from streaming.providers.base import ProviderOptions
    from streaming.providers.retry import RetryingProvider

    inner = _Untaught()
    provider: Any = RetryingProvider(inner, ProviderOptions())  # type: ignore[arg-type]
    await read(provider, REQUEST)
    [request] = inner.requests
    assert not request.output
    assert [spec.name for spec in request.tools] == ["weather", NAME]


def test_the_schema_counts_among_the_tokens_of_a_request() -> None:
    bare = ModelRequest(REQUEST.system, REQUEST.messages, REQUEST.tools)
    assert request_tokens(REQUEST) > request_tokens(bare) + 20


# Schemas


def test_a_strict_schema_has_constraints_as_descriptions() -> None:
    assert strict(TRIAGE.schema, all_required=True) == {
        "type": "object",
        "title": "Triage",
        "description": "A sorted question.",
        "properties": {
            "urgent": {"type": "boolean"},
            "topic": {"type": "string", "enum": ["order", "invoice", "other"]},
            "score": {
                "type": "integer",
                "description": "From low to high. (maximum: 5, minimum: 1)",
            },
        },
        "required": ["urgent", "topic", "score"],
        "additionalProperties": False,
    }


def test_properties_stay_optional_where_the_api_allows_it() -> None:
    found = strict(TRIAGE.schema, all_required=False)
    assert found
    assert found["required"] == ["urgent"]


def test_definitions_and_alternatives_are_kept() -> None:
    class Cat(BaseModel):
        kind: Literal["cat"]

    class Dog(BaseModel):
        kind: Literal["dog"]
        friend: Cat | None = Field(default=None, description="Its friend.")

    class Pet(BaseModel):
        pet: Cat | Dog = Field(discriminator="kind")

    found = strict(OutputType(Pet).schema, all_required=True)
    assert found
    text = json.dumps(found)
    assert "oneOf" not in text
    assert "discriminator" not in text
    assert found["properties"]["pet"]["anyOf"] == [
        {"$ref": "#/$defs/Cat"},
        {"$ref": "#/$defs/Dog"},
    ]
    assert found["$defs"]["Dog"]["required"] == ["kind", "friend"]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "additionalProperties": {"type": "string"},
        },
        {"allOf": [{"type": "string"}, {"type": "string"}]},
    ],
)
def test_a_schema_beyond_the_strict_part_is_not_strict(schema: Body) -> None:
    assert strict(schema, all_required=True) is None


def test_recursive_schemas_are_found() -> None:
    assert is_recursive(OutputType(Tree).schema)
    assert not is_recursive(TRIAGE.schema)
    assert not is_recursive(OutputType(list[Triage]).schema)


def test_a_tool_spec_is_the_description_of_an_output() -> None:
    assert isinstance(TRIAGE.spec, ToolSpec)
