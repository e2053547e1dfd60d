"""What was meant to be reached, and whether it was."""

from collections.abc import Iterator, Sequence
from statistics import median

from bench.latency import most_held
from bench.results import Comparison, Results
from bench.servers_under_test import ADK, OURS, PASS_THROUGH, PEERS, TYPED, UPSTREAM
from bench.wire import Protocol

Row = Sequence[str]


def targets(results: Results) -> Iterator[Row]:
    """Each target: what, how much, what was measured, `met` or not."""
    yield from _throughput(results)
    yield from _paced(results)
    yield from _resources(results)


def _row(what: str, target: str, measured: str, met: bool) -> Row:
    return what, target, measured, "met" if met else "**not met**"


def _at_least(what: str, target: float, measured: float) -> Row:
    return _row(what, f"at least {target:g}", f"{measured:.2f}", measured >= target)


def _at_most(what: str, target: float, measured: float, unit: str = "") -> Row:
    return _row(
        what, f"at most {target:g}{unit}", f"{measured:.2f}", measured <= target
    )


def _throughput(results: Results) -> Iterator[Row]:
    wanted: dict[Protocol, float] = {"chat": 8, "anthropic": 5, "responses": 8}
    for protocol, target in wanted.items():
        for streams in (16, 64):
            ratio = _compared(results, protocol, streams).ratio(OURS, TYPED)
            what = f"deltas/s x typed SDK, {protocol}, {streams} streams"
            yield _at_least(what, target, ratio)
    for protocol, target in (("chat", 40), ("anthropic", 20)):
        ratio = _compared(results, protocol, 16).ratio(OURS, ADK)
        yield _at_least(f"deltas/s x Google ADK, {protocol}", target, ratio)
    chat = _compared(results, "chat", 16)
    ratio = chat.ratio(OURS, PASS_THROUGH)
    yield _at_least("deltas/s x pass-through, chat", 0.3, ratio)
    for one in results.one_by_one:
        what = f"the same, each delta sent by itself, {one.protocol}"
        yield _at_least(what, 0.3, one.ratio(OURS, PASS_THROUGH))
    cpu = median(m.cpu_us for m in chat.rounds[OURS])
    yield _at_most("CPU a delta, chat", 30, cpu, " µs")


def _paced(results: Results) -> Iterator[Row]:
    held = {name: most_held(steps) for name, steps in results.capacity.items()}
    best = max(held[peer.name] for peer in PEERS if peer.name in held)
    what = f"paced streams that one process holds: {held[OURS]}"
    yield _at_least(f"{what} x best peer ({best})", 5, held[OURS] / best)
    through = held[PASS_THROUGH]
    yield _at_least(f"{what} x pass-through ({through})", 0.6, held[OURS] / through)
    ours, own = results.first[OURS], results.first[UPSTREAM]
    for name, ms, of in (
        ("connected", ours.first_event_ms[0], own.first_event_ms[0]),
        ("first content", ours.first_content_ms[0], own.first_content_ms[0]),
    ):
        yield _at_most(
            f"{name} beyond the provider's own time, p50", 10, ms - of, " ms"
        )
    found = results.fairness[OURS]
    late = found["beside"].first_event_ms[1] - found["alone"].first_event_ms[0]
    yield _at_most(
        "a 17th stream's first event beside 16 flat out, later", 100, late, " ms"
    )


def _resources(results: Results) -> Iterator[Row]:
    held = results.holding[OURS]
    yield _at_most("memory of one more open stream", 60, held.kb_a_stream, " kB")
    runs, rss = results.short_runs.runs, results.short_runs.rss_kb
    grown = (rss[-1] - rss[1]) / sum(runs[2:])
    what = f"memory that stays of a short run, over {sum(runs[2:]):,}"
    yield _at_most(what, 0.1, grown, " kB")
    yield _at_most("threads with 300 open streams", 64, held.threads)
    empty, *others = results.growth.rounds
    for name in others:
        ratio = results.growth.ratio(name, empty)
        yield _at_least(f"deltas/s {name}, x empty database", 0.9, ratio)
    yield from _keys(results)
    flushes = max(one.a_flush for one in results.writes)
    yield _at_most("transactions in a flush interval, 1 to 100 runs", 1, flushes)


def _keys(results: Results) -> Iterator[Row]:
    is_open, keyed = results.keys.rounds
    ratio = 1 / results.keys.cpu_ratio(keyed, is_open)
    yield _at_most("CPU a delta with API keys, x open", 1.05, ratio)
    first, other = (
        results.keys_first[name].first_event_ms[0] for name in (keyed, is_open)
    )
    yield _at_most("first event with API keys, later", 1, first - other, " ms")


def _compared(results: Results, protocol: str, streams: int) -> Comparison:
    return next(
        one
        for one in results.throughput
        if (one.protocol, one.streams) == (protocol, streams)
    )
