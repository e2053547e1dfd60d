"""The observation of a model call: its span, by the conventions for generative AI, and
its metrics."""

import time
from collections.abc import Sequence

import msgspec

from streaming.agent.response import ResponseBuilder
from streaming.exceptions import AgentError
from streaming.messages import (
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from streaming.providers.base import ModelRequest, Provider, TokenUsage
from streaming.telemetry import metrics
from streaming.telemetry.tracing import Value, tracer


class ModelCall:
    """A model call with its retries, from construction to `end`."""

    def __init__(self, provider: Provider, request: ModelRequest) -> None:
        self._provider = provider
        self._started = time.monotonic()
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider.name,
            "gen_ai.request.model": provider.model,
            "gen_ai.output.type": "json" if request.output else "text",
        }
        if tracer().has_content:
            attributes |= {
                "gen_ai.system_instructions": _json([_text(request.system)]),
                "gen_ai.input.messages": _json(_messages(request.messages)),
            }
        self._span = tracer().begin(
            f"chat {provider.model}", attributes, is_client=True
        )

    def end(
        self,
        response: ResponseBuilder,
        usage: TokenUsage,
        error: BaseException | None,
    ) -> None:
        """Record the end; `error` is the exception by which the call ended."""
        selected = response.selected
        provider = selected.provider if selected else self._provider.name
        model = selected.model if selected else self._provider.model
        outcome: str = response.stop_reason or "interrupted"
        span = self._span
        if isinstance(error, AgentError):
            outcome = error.code
            span.fail(outcome)
        elif not response.stop_reason:
            span.fail(outcome)
        metrics.MODEL_CALL_SECONDS.observe(
            time.monotonic() - self._started, provider, model, outcome
        )
        attributes = _usage(usage) | {
            "gen_ai.provider.name": provider,
            "gen_ai.response.model": model,
        }
        if response.stop_reason:
            attributes["gen_ai.response.finish_reasons"] = [response.stop_reason]
        if tracer().has_content:
            attributes["gen_ai.output.messages"] = _json(_messages([response.message]))
        span.set(attributes)
        span.end()


def _usage(usage: TokenUsage) -> dict[str, Value]:
    """Return the counts; those of parts only if there are any."""
    parts = {
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens,
    }
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        **{name: count for name, count in parts.items() if count},
    }


def _messages(messages: Sequence[Message]) -> list[dict[str, object]]:
    """Return messages in the form of the conventions, without opaque parts."""
    return [
        {
            "role": message.role,
            "parts": [part for each in message.parts if (part := _part(each))],
        }
        for message in messages
    ]


def _part(part: Part) -> dict[str, object] | None:
    match part:
        case TextPart():
            return _text(part.text)
        case ThinkingPart():
            return {"type": "reasoning", "content": part.text}
        case ToolCallPart():
            return {
                "type": "tool_call",
                "id": part.id,
                "name": part.name,
                "arguments": part.arguments,
            }
        case ToolResultPart():
            return {
                "type": "tool_call_response",
                "id": part.id,
                "response": part.result,
            }
    return None


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "content": text}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
