"""The metrics of this process: plain numbers in memory, which a scrape reads.

They are counted at the end of a run, of a call or of a write, and never for a delta, so
that they cost the same whether or not anything reads them. No label has a value that a
caller chooses: agents, models and tools are those that the project declares.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import msgspec

#: The beginning of all names.
PREFIX = "agent_stream_"
#: Upper bounds of buckets in seconds: for responses of people's systems, and for code.
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1800.0)
SHORT_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)

_lock = threading.Lock()


class Sample(msgspec.Struct, frozen=True):
    """A value of a metric, for one value of each of its labels."""

    labels: tuple[str, ...]
    #: The value; of a histogram, the sum of its observations.
    value: float
    #: The number of observations up to each bound, and of all, in a histogram.
    buckets: tuple[int, ...] = ()


class Family(msgspec.Struct, frozen=True):
    """A metric with its samples."""

    kind: str
    name: str
    help: str
    labels: tuple[str, ...]
    samples: list[Sample]
    bounds: tuple[float, ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """The metrics of one process at one moment."""

    pid: int
    families: list[Family]


class Metric:
    """A metric of this process; all are declared in this package, each once."""

    kind = ""

    def __init__(self, name: str, help: str, labels: tuple[str, ...] = ()) -> None:
        self.name = PREFIX + name
        self.help = help
        self.labels = labels

    def family(self) -> Family:
        """Return the metric with its present samples."""
        return Family(self.kind, self.name, self.help, self.labels, self.samples())

    def samples(self) -> list[Sample]:
        """Return the present samples."""
        raise NotImplementedError  # it differs by kind


class Counter(Metric):
    """A sum that only grows."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, help, labels)
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, amount: float, *labels: str) -> None:
        """Add to the sum of these labels; event loops and threads may do so at once."""
        with _lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    def samples(self) -> list[Sample]:
        """Return the sums."""
        with _lock:
            return [Sample(*each) for each in self._values.items()]


class Histogram(Metric):
    """A distribution of observations over buckets."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        help: str,
        labels: tuple[str, ...] = (),
        bounds: tuple[float, ...] = SECONDS,
    ) -> None:
        super().__init__(name, help, labels)
        self._bounds = bounds
        self._sums: dict[tuple[str, ...], float] = {}
        self._counts: dict[tuple[str, ...], list[int]] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count an observation."""
        bucket = sum(value > bound for bound in self._bounds)
        with _lock:
            counts = self._counts.get(labels)
            if counts is None:
                counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            counts[bucket] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def family(self) -> Family:
        """Return the metric with its present samples."""
        return msgspec.structs.replace(super().family(), bounds=self._bounds)

    def samples(self) -> list[Sample]:
        """Return the sums and the cumulative counts."""
        with _lock:
            return [
                Sample(labels, self._sums[labels], tuple(accumulate(counts)))
                for labels, counts in self._counts.items()
            ]


class Gauge(Metric):
    """A value of the moment, which a scrape reads from its sources and adds up."""

    kind = "gauge"

    def __init__(self, name: str, help: str) -> None:
        super().__init__(name, help)
        self._sources: list[Callable[[], float]] = []
        self._held = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Add one to the value, as long as the context is open."""
        with _lock:
            self._held += 1
        try:
            yield
        finally:
            with _lock:
                self._held -= 1

    @property
    def held_count(self) -> int:
        """The number of open contexts of `held`."""
        return self._held

    @contextmanager
    def read_from(self, source: Callable[[], float]) -> Iterator[None]:
        """Read the value from a source as well, as long as the context is open.

        A process may have several sources, as it may have several event loops. The call
        comes from any thread.
        """
        self._sources.append(source)
        try:
            yield
        finally:
            self._sources.remove(source)

    def samples(self) -> list[Sample]:
        """Return the sum of the sources and of the open contexts."""
        total = self._held + sum(source() for source in list(self._sources))
        return [Sample((), total)]


RUNS = Counter(
    "runs_total",
    "Runs that this process executed to their end. `reason` is the stop reason, or the "
    "code of the error.",
    ("agent", "model", "status", "reason"),
)
RUN_SECONDS = Histogram(
    "run_seconds",
    "Time from the start of an attempt to the end of its run.",
    ("agent", "model"),
)
FIRST_TOKEN_SECONDS = Histogram(
    "first_token_seconds",
    "Time from the start of a run's execution to its first token.",
    ("agent", "model"),
)
TOKENS = Counter(
    "tokens_total",
    "Tokens of ended runs. `kind` is input, output, reasoning (a part of output), "
    "cache_read or cache_write (parts of input).",
    ("agent", "model", "kind"),
)
COST = Counter(
    "cost_dollars_total",
    "Cost of ended runs in US dollars, of models whose price is known.",
    ("agent", "model"),
)
ATTEMPTS = Counter(
    "attempts_total",
    "Executions that this process began. `kind` is first or further.",
    ("agent", "kind"),
)
LOST_LEASES = Counter(
    "lost_leases_total",
    "Leases of other processes that this one found expired. `outcome` is requeued or "
    "failed.",
    ("outcome",),
)
RESTARTS = Counter(
    "restarts_total",
    "Runs that this process returned to the queue. `reason` is lost_lease, hand_over "
    "or operator.",
    ("reason",),
)
OWNERSHIP_LOST = Counter(
    "ownership_lost_total",
    "Executions here that ended because another process had taken over their run.",
)
MODEL_CALL_SECONDS = Histogram(
    "model_call_seconds",
    "Duration of model calls with their retries. `outcome` is the reason for which the "
    "model stopped, the code of an error, or interrupted.",
    ("provider", "model", "outcome"),
)
PROVIDER_ERRORS = Counter(
    "provider_errors_total",
    "Errors of providers, also of requests that were repeated. `code` is that of the "
    "error.",
    ("provider", "model", "code"),
)
TOOL_SECONDS = Histogram(
    "tool_seconds",
    "Duration of tool calls. `outcome` is completed or error.",
    ("tool", "outcome"),
    SHORT_SECONDS + (60.0, 300.0),
)
LOG_WRITE_SECONDS = Histogram(
    "log_write_seconds",
    "Duration of writes of the event log: flushes and checkpoints.",
    bounds=SHORT_SECONDS,
)
LOG_WRITE_FAILURES = Counter(
    "log_write_failures_total", "Writes of the event log that failed."
)
EVENT_LOOP_LAG_SECONDS = Histogram(
    "event_loop_lag_seconds",
    "Delay of a timer of the event loop, four times a second.",
    bounds=SHORT_SECONDS,
)
READER_LAG_SECONDS = Histogram(
    "reader_lag_seconds",
    "Time from an event to its frame, for one event in five seconds of each stream. "
    "Clocks of machines differ.",
    bounds=SHORT_SECONDS,
)
EXECUTING_RUNS = Gauge("executing_runs", "Runs that this process executes.")
OPEN_STREAMS = Gauge("open_streams", "Streams that this process sends.")
BLOCKED_SECONDS = Gauge(
    "event_loop_blocked_seconds", "Time for which the event loop has not run."
)
ABANDONED_TOOL_CALLS = Gauge(
    "abandoned_tool_calls",
    "Tool calls that still run although their runs stopped waiting.",
)
DRAINING = Gauge("draining", "1 if this process starts no more runs.")

#: The metrics of a process, in the order in which they are shown.
PROCESS_METRICS: tuple[Metric, ...] = (
    *(RUNS, RUN_SECONDS, FIRST_TOKEN_SECONDS, TOKENS, COST),
    *(ATTEMPTS, RESTARTS, LOST_LEASES, OWNERSHIP_LOST),
    *(MODEL_CALL_SECONDS, PROVIDER_ERRORS, TOOL_SECONDS),
    *(LOG_WRITE_SECONDS, LOG_WRITE_FAILURES),
    *(EVENT_LOOP_LAG_SECONDS, BLOCKED_SECONDS, READER_LAG_SECONDS),
    *(EXECUTING_RUNS, OPEN_STREAMS, ABANDONED_TOOL_CALLS, DRAINING),
)


def collect(metrics: Iterable[Metric] = PROCESS_METRICS) -> list[Family]:
    """Return metrics with their present samples."""
    return [metric.family() for metric in metrics]
