"""Results as tables in Markdown: `python -m bench.report results.json`."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from bench.latency import most_held
from bench.load import Measurement
from bench.results import Comparison, Results, load
from bench.servers_under_test import CEILING, PASS_THROUGH, TYPED, UPSTREAM
from bench.targets import targets

PROTOCOLS = {
    "chat": "OpenAI Chat Completions",
    "responses": "OpenAI Responses",
    "anthropic": "Anthropic Messages",
}


def write(results: Results) -> str:
    """All tables."""
    sections = [
        results.conditions,
        "## Summary",
        summary(results),
        "## Targets",
        table(("figure", "target", "measured", ""), targets(results)),
        "## Flat out",
        *(text for one in results.throughput for text in throughput(one)),
        "## Each delta sent by itself",
        *(text for one in results.one_by_one for text in throughput(one)),
        "## Time to the first event",
        _first(results),
        "## Streams held",
        _capacity(results),
        "## A stream beside 16 flat-out streams",
        _fairness(results),
        "## Memory and threads",
        _holding(results),
        _short_runs(results),
        "## Growth",
        _growth(results.growth),
        "## API keys",
        _keys(results),
        "## Transactions",
        table(
            ("runs in mid-stream", "transactions in a flush interval"),
            ((f"{one.runs}", f"{one.a_flush:.2f}") for one in results.writes),
        ),
    ]
    return "\n\n".join(sections) + "\n"


def summary(results: Results) -> str:
    """One row for each server that was measured like the others."""
    compared = (one for one in results.throughput if one.streams == 16)
    flat_out: dict[str, Comparison] = {one.protocol: one for one in compared}
    headings = (
        "deltas/s, x typed SDK",
        *(f"OpenAI {name}" for name in ("chat", "Responses")),
        "Anthropic",
        "CPU a delta, µs",
        "streams held",
        "kB a stream",
    )

    def row(name: str) -> Sequence[str]:
        ratios = (
            f"{one.ratio(name, TYPED):.1f}" if name in one.rounds else ""
            for one in map(flat_out.__getitem__, PROTOCOLS)
        )
        cpu = median(m.cpu_us for m in flat_out["chat"].rounds[name])
        held = most_held(results.capacity[name])
        taken = results.holding[name].kb_a_stream
        return name, *ratios, f"{cpu:.0f}", f"{held}", f"{taken:.0f}"

    return table(headings, map(row, results.holding))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def throughput(compared: Comparison) -> Iterable[str]:
    """A heading, and the table of one load."""
    yield f"{PROTOCOLS[compared.protocol]}, {compared.streams} streams at once:"
    headings = (
        "server",
        "deltas/s",
        "x typed SDK",
        "x pass-through",
        "CPU a delta, µs",
        "first event p50, ms",
        "server busy",
        "generator busy",
    )
    yield table(headings, (_row(name, compared) for name in compared.rounds))


def _row(name: str, compared: Comparison) -> Sequence[str]:
    def middle(value: Callable[[Measurement], float]) -> float:
        return median(map(value, compared.rounds[name]))

    return (
        name,
        f"{middle(lambda m: m.per_second):,.0f}",
        f"{compared.ratio(name, TYPED):.2f}",
        f"{compared.ratio(name, PASS_THROUGH):.2f}",
        f"{middle(lambda m: m.cpu_us):.1f}",
        f"{middle(lambda m: m.first_event_ms[0]):.0f}",
        f"{middle(lambda m: m.server_cpu / m.elapsed):.0%}",
        f"{middle(lambda m: m.load_cpu / m.elapsed):.0%}",
    )


def _first(results: Results) -> str:
    own = results.first[UPSTREAM]
    headings = ("server", "first event p50", "p99", "first content p50", "p99")
    rows = (
        (
            name,
            *_beyond(m.first_event_ms, own.first_event_ms),
            *_beyond(m.first_content_ms, own.first_content_ms),
        )
        for name, m in results.first.items()
        if name not in (UPSTREAM, CEILING)
    )
    return table(headings, rows)


def _beyond(times: Sequence[float], own: Sequence[float]) -> Iterable[str]:
    """What a server adds to the provider's own time."""
    return (f"{ms - of:.1f}" for ms, of in zip(times, own, strict=True))


def _capacity(results: Results) -> str:
    headings = (
        "server",
        "streams held",
        "delay p50 / p99, ms",
        "gap p99, ms",
        "CPU a delta, µs",
    )
    return table(headings, (_held(name, results) for name in results.capacity))


def _held(name: str, results: Results) -> Sequence[str]:
    steps = results.capacity[name]
    most = most_held(steps)
    last = next((step for step in steps if step.streams == most), steps[0])
    ended = most < steps[-1].streams
    return (
        name,
        f"{most}" if ended else f"{most} or more",
        f"{last.delay_ms[0]:.1f} / {last.delay_ms[1]:.1f}",
        f"{last.gap_ms[1]:.0f}",
        f"{last.cpu_us:.0f}",
    )


def _fairness(results: Results) -> str:
    headings = ("server", "first event alone p50, ms", "beside p50", "beside p99")
    rows = (
        (
            name,
            f"{found['alone'].first_event_ms[0]:.1f}",
            *(f"{ms:.1f}" for ms in found["beside"].first_event_ms),
        )
        for name, found in results.fairness.items()
    )
    return table(headings, rows)


def _holding(results: Results) -> str:
    headings = ("server", "kB a stream", "threads", "RSS, MB")
    rows = (
        (name, f"{h.kb_a_stream:.0f}", f"{h.threads}", f"{h.rss_kb / 1024:.0f}")
        for name, h in results.holding.items()
    )
    return table(headings, rows)


def _short_runs(results: Results) -> str:
    after, rows = 0, []
    for runs, rss in zip(
        results.short_runs.runs, results.short_runs.rss_kb, strict=True
    ):
        after += runs
        rows.append((f"{after:,}", f"{rss / 1024:.1f}"))
    return table(("short runs before", "RSS, MB"), rows)


def _growth(growth: Comparison) -> str:
    empty = next(iter(growth.rounds))
    rows = (
        (
            name,
            f"{median(m.per_second for m in rounds):,.0f}",
            f"{growth.ratio(name, empty):.2f}",
            f"{median(m.cpu_us for m in rounds):.1f}",
        )
        for name, rounds in growth.rounds.items()
    )
    return table(("ours", "deltas/s", "x empty", "CPU a delta, µs"), rows)


def _keys(results: Results) -> str:
    rows = (
        (
            name,
            f"{median(m.per_second for m in rounds):,.0f}",
            f"{median(m.cpu_us for m in rounds):.1f}",
            *(f"{ms:.1f}" for ms in results.keys_first[name].first_event_ms),
        )
        for name, rounds in results.keys.rounds.items()
    )
    headings = ("ours", "deltas/s", "CPU a delta, µs", "first event p50, ms", "p99")
    return table(headings, rows)


if __name__ == "__main__":
    print(write(load(Path(sys.argv[1]))))
