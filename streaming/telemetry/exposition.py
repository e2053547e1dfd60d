"""The text of a scrape. This module alone needs `prometheus_client`, the extra
`metrics`."""

import logging
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from streaming.telemetry.metrics import Family, Snapshot

logger = logging.getLogger(__name__)

#: The label of the process in the metrics of processes.
PROCESS = "pid"


class Scrape:
    """The metrics of some processes, and of the database that they share."""

    def __init__(
        self, snapshots: Sequence[Snapshot], shared: Iterable[Family] = ()
    ) -> None:
        self._snapshots = snapshots
        self._shared = shared

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the samples of all processes.

        A process may have another version, and metrics of another form: those of the
        first process are valid, and the different ones are left out.
        """
        made: dict[str, _Adapter] = {}
        for snapshot in self._snapshots:
            for family in snapshot.families:
                try:
                    adapter = made.get(family.name) or _Adapter(family, (PROCESS,))
                    adapter.add(family, (str(snapshot.pid),))
                except ValueError as error:
                    fields = {"pid": snapshot.pid, "metric": family.name}
                    logger.warning("metric left out: %s", error, extra=fields)
                else:
                    made[family.name] = adapter
        for family in self._shared:
            made[family.name] = _Adapter(family)
            made[family.name].add(family)
        for adapter in made.values():
            yield adapter.metric

    def encode(self, accept: str) -> tuple[bytes, str]:
        """Return the text in a form that the scraper accepts, and its content type."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        encoder, content_type = choose_encoder(accept)
        return encoder(registry), content_type


class _Adapter:
    """A metric in the library's form. Raises `ValueError` if it cannot have it."""

    def __init__(self, family: Family, more: tuple[str, ...] = ()) -> None:
        name, text, labels = family.name, family.help, (*family.labels, *more)
        if not all(map(str.isidentifier, (name, *labels))):
            raise ValueError("its name or a label's is invalid")
        self._form = _form(family)
        self.metric: Metric
        match family.kind:
            case "counter":
                self.metric = CounterMetricFamily(name, text, labels=labels)
            case "gauge":
                self.metric = GaugeMetricFamily(name, text, labels=labels)
            case "histogram":
                self.metric = HistogramMetricFamily(name, text, labels=labels)
            case _:
                raise ValueError(f"unknown kind {family.kind!r}")

    def add(self, family: Family, more: tuple[str, ...] = ()) -> None:
        """Add the samples of a process, or none of them and raise `ValueError`."""
        if _form(family) != self._form:
            raise ValueError("its kind, labels or bounds differ between processes")
        size = len(family.bounds) + 1 if family.kind == "histogram" else 0
        for sample in family.samples:
            if (len(sample.labels), len(sample.buckets)) != (len(family.labels), size):
                raise ValueError("a sample does not have its labels or buckets")
        bounds = [*map(repr, family.bounds), "+Inf"]
        for sample in family.samples:
            labels = [*sample.labels, *more]
            if isinstance(self.metric, HistogramMetricFamily):
                buckets = list(zip(bounds, sample.buckets, strict=True))
                self.metric.add_metric(labels, buckets, sample.value)
            elif isinstance(self.metric, CounterMetricFamily | GaugeMetricFamily):
                self.metric.add_metric(labels, sample.value)


def _form(family: Family) -> tuple[object, ...]:
    return family.kind, family.labels, family.bounds
