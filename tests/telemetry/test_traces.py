"""The spans of runs: their tree, their attributes, and their parent."""

import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from streaming import runs
from streaming.models import Run
from streaming.storage import database
from streaming.telemetry import tracing
from streaming.telemetry.otel import OtelTracer
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
QUESTION = "What is 12 * 12?"


class Spans:
    """The spans that were exported."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def __len__(self) -> int:
        return len(self._exporter.get_finished_spans())

    def named(self, name: str) -> Sequence[ReadableSpan]:
        """Return the spans whose names begin so, in the order of their beginnings."""
        spans = self._exporter.get_finished_spans()
        found = [span for span in spans if span.name.startswith(name)]
        return sorted(found, key=lambda span: span.start_time or 0)


def make(*, has_content: bool = False, **options: object) -> tuple[OtelTracer, Spans]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(**options)  # type: ignore[arg-type]
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtelTracer(provider, has_content=has_content), Spans(exporter)


@pytest.fixture
def spans() -> Iterator[Spans]:
    tracer, found = make()
    with tracing.installed(tracer):
        yield found


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return bool(child.parent) and (
        child.parent.span_id == parent.context.span_id  # type: ignore[union-attr]
        and child.context.trace_id == parent.context.trace_id
    )


async def test_the_spans_of_a_run_are_a_tree(api: Api, spans: Spans) -> None:
    ended = await api.post(f"{API}/run", {"input": QUESTION, "conversation_id": "c"})
    [run] = spans.named("invoke_agent")
    [attempt] = spans.named("attempt")
    calls = spans.named("chat")
    [tool] = spans.named("execute_tool")
    assert (run.name, attempt.name) == ("invoke_agent Agent", "attempt 1")
    assert [call.name for call in calls] == ["chat demo-1"] * 2
    assert tool.name == "execute_tool calculator"
    assert is_below(attempt, run)
    assert all(is_below(each, attempt) for each in (*calls, tool))
    assert run.parent is None
    assert run.context.trace_id == int(ended.headers["x-run-id"], 16)
    assert len(spans) == 5
    for span in (run, attempt, *calls, tool):
        assert span.start_time
        assert span.end_time
        assert span.start_time <= span.end_time
        assert span.status.status_code is StatusCode.UNSET


async def test_the_attributes_are_those_of_the_conventions(
    api: Api, spans: Spans
) -> None:
    ended = await api.post(f"{API}/run", {"input": QUESTION, "conversation_id": "c"})
    usage = ended.json["usage"]
    [run] = spans.named("invoke_agent")
    attributes = dict(run.attributes or {})
    assert (
        attributes
        | {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "demo",
            "gen_ai.agent.name": "Agent",
            "gen_ai.conversation.id": "c",
            "gen_ai.request.model": "demo-1",
            "gen_ai.usage.input_tokens": usage["input_tokens"],
            "gen_ai.usage.output_tokens": usage["output_tokens"],
            "agent_stream.run.id": ended.headers["x-run-id"],
            "agent_stream.organization.id": "default",
            "agent_stream.outcome": "end_turn",
        }
        == attributes
    )
    first, last = spans.named("chat")
    assert first.kind is SpanKind.CLIENT
    assert first.attributes
    assert last.attributes
    assert first.attributes["gen_ai.operation.name"] == "chat"
    assert first.attributes["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert last.attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    [tool] = spans.named("execute_tool")
    assert tool.attributes
    assert tool.attributes["gen_ai.tool.name"] == "calculator"
    assert tool.attributes["gen_ai.tool.call.id"]


async def test_the_request_is_the_parent_of_its_run(api: Api, spans: Spans) -> None:
    header = f"00-{TRACE}-{PARENT}-01"
    await api.post(f"{API}/run", {"input": "Hi"}, traceparent=header)
    [run] = spans.named("invoke_agent")
    [attempt] = spans.named("attempt")
    assert run.context.trace_id == int(TRACE, 16)
    assert run.parent
    assert run.parent.span_id == int(PARENT, 16)
    assert is_below(attempt, run)
    assert (await Run.objects.aget()).traceparent == header


async def test_an_invalid_parent_is_ignored(api: Api, spans: Spans) -> None:
    started = await api.post(f"{API}/run", {"input": "Hi"}, traceparent="nonsense")
    [run] = spans.named("invoke_agent")
    assert run.context.trace_id == int(started.headers["x-run-id"], 16)


async def test_a_request_that_is_not_sampled_has_no_spans(
    api: Api, spans: Spans
) -> None:
    header = f"00-{TRACE}-{PARENT}-00"
    await api.post(f"{API}/run", {"input": QUESTION}, traceparent=header)
    assert len(spans) == 0


async def test_the_sampler_decides_for_the_whole_run(api: Api) -> None:
    tracer, spans = make(sampler=ParentBased(ALWAYS_OFF))
    with tracing.installed(tracer):
        await api.post(f"{API}/run", {"input": QUESTION})
        assert len(spans) == 0


async def test_no_text_of_a_user_is_in_the_spans(api: Api, spans: Spans) -> None:
    await api.post(f"{API}/run", {"input": QUESTION})
    shown = str([dict(span.attributes or {}) for span in spans.named("")])
    assert "12 * 12" not in shown
    assert "144" not in shown


async def test_a_setting_adds_the_texts(api: Api) -> None:
    tracer, spans = make(has_content=True)
    with tracing.installed(tracer):
        await api.post(f"{API}/run", {"input": QUESTION})
    first, last = spans.named("chat")
    [tool] = spans.named("execute_tool")
    assert first.attributes
    assert last.attributes
    assert tool.attributes
    assert QUESTION in str(first.attributes["gen_ai.input.messages"])
    assert "tool_call_response" in str(last.attributes["gen_ai.input.messages"])
    assert "144" in str(last.attributes["gen_ai.output.messages"])
    assert first.attributes["gen_ai.system_instructions"]
    assert "12" in str(tool.attributes["gen_ai.tool.call.arguments"])
    assert "144" in str(tool.attributes["gen_ai.tool.call.result"])


@pytest.mark.usefixtures("model")
async def test_a_failure_marks_the_run_its_attempt_and_its_call(
    api: Api, upstream: StandInProvider, spans: Spans
) -> None:
    upstream.reply(Reply(status=429, body=b'{"error": {"message": "Slow down."}}'))
    await api.post(f"{API}/run", {"input": "Hi"})
    for name in ("invoke_agent", "attempt", "chat"):
        [span] = spans.named(name)
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes
        assert span.attributes["error.type"] == "provider_rate_limited"


@pytest.mark.usefixtures("model")
async def test_attempts_of_one_run_are_in_one_trace(
    api: Api, upstream: StandInProvider, spans: Spans
) -> None:
    upstream.reply(Reply(chat.pieces("Hal"), end="hang"), chat.answer("Good day"))
    body = {"input": "Hi", "restarts": True}
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with api.open("POST", f"{API}/stream", body, header) as stream:
        await stream.until("content")
        run = await Run.objects.aget()
        requeued = await database.execute_write(runs.requeue, [run.id])
        assert requeued == {run.id}
        runs.wake_executors()
        await stream.end()
    [whole] = spans.named("invoke_agent")
    first, second = spans.named("attempt")
    assert (first.name, second.name) == ("attempt 1", "attempt 2")
    assert is_below(first, whole)
    assert is_below(second, whole)
    assert first.attributes
    assert first.attributes["agent_stream.outcome"] == "ownership_lost"
    calls = spans.named("chat")
    assert [is_below(*each) for each in zip(calls, (first, second), strict=True)] == [
        True,
        True,
    ]
    assert whole.context.trace_id == int(TRACE, 16)


def test_a_collector_that_never_responds_does_not_hold_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    responded = threading.Event()

    class Hanging(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            responded.wait(SECONDS)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Hanging()))
    tracer = OtelTracer(provider)
    tracer.begin("chat", {}, is_client=True).end()
    tracer.flush(0.01)
    assert not responded.is_set()
    assert "traces not exported within 0.0 s" in caplog.messages
    responded.set()
    provider.shutdown()
