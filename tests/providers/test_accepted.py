"""Any history becomes a request that strict servers accept, after few refusals."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.messages import Message, ToolSpec, user_message
from streaming.providers.anthropic import refusals as anthropic_refusals
from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.anthropic.request import build as anthropic_body
from streaming.providers.base import ModelRequest
from streaming.providers.openai import chat_request, responses_request
from streaming.providers.openai.refusals import KNOWN
from streaming.providers.refusals import MAX_CAUSES, Dialect
from tests import campaign
from tests.providers import histories, strict_servers
from tests.providers.histories import Source
from tests.providers.strict_servers import Refused, Server

ORIGIN = "https://here.example/v1 api model"
WEATHER = ToolSpec(
    "weather",
    "The weather in a city.",
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "city": {"$ref": "#/$defs/City"},
            "required": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "required": ["city"],
        "$defs": {"City": {"type": "string", "enum": ["Rome", "Oslo"]}},
    },
)

Build = Callable[[ModelRequest, frozenset[str]], dict[str, Any]]


class Case(NamedTuple):
    """A strict server, and the way in which requests to it are built."""

    server: Server
    build: Build
    dialect: Callable[[], Dialect]
    source: Source = Source(ORIGIN, [], [None])


def chat(at_openai: bool = False) -> Build:
    return lambda request, learned: chat_request.body(
        request,
        model="gpt-6-luna" if at_openai else "m",
        max_tokens=1000,
        thinking="auto",
        at_openai=at_openai,
        origin=ORIGIN,
        learned=learned,
    )


def responses(at_openai: bool = False) -> Build:
    return lambda request, learned: responses_request.body(
        request,
        model="gpt-6-luna" if at_openai else "m",
        max_tokens=1000,
        thinking="auto",
        at_openai=at_openai,
        origin=ORIGIN,
        learned=learned,
    )


def messages(model: str) -> Build:
    def build(request: ModelRequest, learned: frozenset[str]) -> dict[str, Any]:
        return anthropic_body(
            request,
            model=model,
            options=AnthropicOptions(anthropic_api_key="k"),
            origin=ORIGIN,
            learned=learned,
        )

    return build


def openai_dialect() -> Dialect:
    return Dialect(KNOWN)


def anthropic_dialect() -> Dialect:
    return Dialect(anthropic_refusals.KNOWN, anthropic_refusals.REQUIRED)


CASES = {
    "OpenAI Chat": Case(strict_servers.openai_chat, chat(True), openai_dialect),
    "OpenAI Chat, unknown host": Case(
        strict_servers.openai_chat, chat(), openai_dialect
    ),
    "Mistral": Case(strict_servers.mistral, chat(), openai_dialect),
    "Gemini": Case(
        strict_servers.gemini,
        chat(),
        openai_dialect,
        Source(ORIGIN, [histories.FIELDS], [histories.THOUGHT]),
    ),
    "DeepSeek": Case(
        strict_servers.deepseek,
        chat(),
        openai_dialect,
        Source(ORIGIN, [histories.REASONING_CONTENT], [None]),
    ),
    "Gemma": Case(strict_servers.gemma, chat(), openai_dialect),
    "Responses": Case(
        strict_servers.responses,
        responses(True),
        openai_dialect,
        Source(ORIGIN, [histories.ENCRYPTED, histories.PHASE], [None]),
    ),
    "Anthropic": Case(
        strict_servers.anthropic,
        messages("claude-sonnet-5-5"),
        anthropic_dialect,
        Source(ORIGIN, [histories.SIGNED, histories.REDACTED], [None]),
    ),
    "Anthropic, another vendor's model": Case(
        strict_servers.anthropic, messages("glm-5"), anthropic_dialect
    ),
    "Gemma, Responses": Case(
        strict_servers.gemma_responses, responses(), openai_dialect
    ),
    "Gemma, Messages": Case(
        strict_servers.gemma_messages, messages("gemma"), anthropic_dialect
    ),
}


def refusals_until_accepted(
    case: Case, dialect: Dialect, request: ModelRequest
) -> list[str]:
    """Send a request as a model call does; return the refusals."""
    refused: list[str] = []
    while True:
        body = case.build(request, dialect.learned)
        try:
            case.server(body)
        except Refused as error:
            refused.append(error.text)
            assert len(refused) <= MAX_CAUSES, refused
            cause = dialect.find(error.text, body, dialect.learned)
            assert cause, refused
            dialect.learn(cause)
        else:
            return refused


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=campaign.examples(40))
@given(data=st.data())
def test_any_history_is_accepted(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    dialect = case.dialect()
    for _ in range(2):
        history: list[Message] = data.draw(histories.histories(case.source))
        for allowed in (True, False):
            request = ModelRequest("Be brief.", history, [WEATHER], allowed)
            refusals_until_accepted(case, dialect, request)
            assert refusals_until_accepted(case, dialect, request) == []


TRIAGE = ToolSpec(
    "final_output",
    "The answer.",
    {
        "type": "object",
        "properties": {"urgent": {"type": "boolean"}},
        "required": ["urgent"],
    },
)


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_the_form_of_an_answer_reaches_any_server(name: str, allowed: bool) -> None:
    case = CASES[name]
    dialect = case.dialect()
    messages = [user_message("Is it urgent?")]
    request = ModelRequest("", messages, [WEATHER], allowed, output=TRIAGE)
    refusals_until_accepted(case, dialect, request)
    assert "urgent" in json.dumps(case.build(request, dialect.learned))
    assert refusals_until_accepted(case, dialect, request) == []
