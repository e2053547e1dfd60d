"""The observation of one attempt: its log context, its spans, and its metrics.

All of it happens at the beginning, at the first token and at the end of an attempt.
"""

import time

from streaming.agent.progress import Progress
from streaming.agents import registry
from streaming.agents.loops import AgentLoops
from streaming.exceptions import AgentError, AgentRemoved
from streaming.prices import dollars
from streaming.runs.store import OwnedRun
from streaming.telemetry import metrics
from streaming.telemetry.context import RunContext, enter_run, trace_of
from streaming.telemetry.tracing import (
    NO_SPAN,
    Attributes,
    Span,
    TracedRun,
    Value,
    tracer,
)

#: The outcomes of an attempt that does not end its run. Only the first is intended.
HANDED_OVER, OWNERSHIP_LOST, NOT_STORED = "handed_over", "ownership_lost", "not_stored"


class Observation:
    """The observation of an attempt, from `enter` to `left` or `ended`."""

    def __init__(self, run: OwnedRun, agents: AgentLoops) -> None:
        self._run = run
        self._agents = agents
        self._agent = registry.display_name(run.agent)
        self._started = time.monotonic()
        self._span: Span = NO_SPAN

    def enter(self) -> None:
        """Begin, in the task of the attempt: its tasks inherit run and span."""
        run = self._run
        metrics.ATTEMPTS.add(1, self._agent, "first" if run.attempt <= 1 else "further")
        organization = run.context.organization
        trace_id = trace_of(run.id, run.traceparent)
        enter_run(RunContext(run.id, organization, trace_id))
        self._span = tracer().begin_attempt(self._traced(), run.attempt, run.worker)
        tracer().make_current(self._span)

    def first_token(self) -> None:
        """Note that the first token of the run has arrived."""
        waited = time.monotonic() - self._started
        metrics.FIRST_TOKEN_SECONDS.observe(waited, self._agent, self._model(None)[1])

    def left(self, outcome: str) -> None:
        """End without an end of the run: it goes on elsewhere, or is not stored."""
        self._span.set({"agent_stream.outcome": outcome})
        if outcome != HANDED_OVER:
            self._span.fail(outcome)
        self._span.end()

    def ended(self, progress: Progress, error: AgentError | None, status: str) -> None:
        """End with the run."""
        provider, model = self._model(progress)
        reason = error.code if error else progress.stop_reason
        self._count(progress, model, status, reason)
        attributes = _result(progress, model) | {"agent_stream.outcome": reason}
        failure = error.code if error else ""
        self._span.set(attributes)
        if failure:
            self._span.fail(failure)
        self._span.end()
        if provider:
            attributes["gen_ai.provider.name"] = provider
        tracer().record_run(self._traced(), attributes, failure)

    def _count(self, progress: Progress, model: str, status: str, reason: str) -> None:
        agent, used = self._agent, progress.usage
        metrics.RUNS.add(1, agent, model, status, reason)
        lasted = time.monotonic() - self._started
        metrics.RUN_SECONDS.observe(lasted, agent, model)
        for kind, count in (
            ("input", used.input_tokens),
            ("output", used.output_tokens),
            ("reasoning", used.reasoning_tokens),
            ("cache_read", used.cache_read_tokens),
            ("cache_write", used.cache_write_tokens),
        ):
            if count:
                metrics.TOKENS.add(count, agent, model, kind)
        if progress.meter and (cost := progress.meter.cost):
            metrics.COST.add(float(dollars(cost)), agent, model)

    def _model(self, progress: Progress | None) -> tuple[str, str]:
        """Return the provider and the model that answered, else the agent's first."""
        if progress and progress.selected:
            return progress.selected.provider, progress.selected.model
        try:
            return self._agents.model_of(self._run.agent)
        except AgentRemoved:
            return "", ""

    def _traced(self) -> TracedRun:
        run = self._run
        return TracedRun(
            run.id, run.traceparent, self._agent, run.created_at, self._attributes()
        )

    def _attributes(self) -> Attributes:
        context = self._run.context
        return {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": self._agent,
            "gen_ai.conversation.id": context.conversation,
            "agent_stream.run.id": self._run.id,
            "agent_stream.organization.id": context.organization,
        }


def _result(progress: Progress, model: str) -> dict[str, Value]:
    used = progress.usage
    return {
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": used.input_tokens,
        "gen_ai.usage.output_tokens": used.output_tokens,
        "agent_stream.model_calls": progress.llm_calls,
        "agent_stream.tool_calls": progress.tool_calls,
    }
