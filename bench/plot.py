"""The added delay against the number of streams, as an SVG for light and dark."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from bench.contenders import CEILING, OURS, UPSTREAM
from bench.latency import MOST_DELAY_MS, Step

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 64, 236, 64, 56
STREAMS = (10, 800)
DELAYS = (0.1, 10_000)
X_TICKS = (10, 25, 50, 100, 200, 400, 800)
Y_TICKS = (0.1, 1, 10, 100, 1000, 10_000)
LABEL_HEIGHT = 17
LEFT_OUT = {UPSTREAM, CEILING}

STYLE = """
svg { font: 13px system-ui, sans-serif; --ink: #1f2328; --soft: #656d76;
  --line: #d8dee4; --page: #ffffff; --ours: #0969da; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --soft: #8d96a0;
  --line: #30363d; --page: #0d1117; --ours: #58a6ff; } }
.page { fill: var(--page); } text { fill: var(--ink); } .soft { fill: var(--soft); }
.title { font-weight: 600; font-size: 15px; } .grid { stroke: var(--line); }
.limit { stroke: var(--soft); stroke-dasharray: 5 4; }
polyline { fill: none; stroke: var(--soft); stroke-width: 1.5; }
circle { fill: var(--soft); } .lead { stroke: var(--line); }
.ours polyline { stroke: var(--ours); stroke-width: 3; }
.ours circle, .ours text { fill: var(--ours); } .ours text { font-weight: 600; }
"""


def draw(holds: Mapping[str, Sequence[Step]]) -> str:
    """The whole image."""
    shown = {name: steps for name, steps in holds.items() if name not in LEFT_OUT}
    parts = [*_frame(), *_axes(), *_lines(shown)]
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">'
    return "\n".join([start, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def _frame() -> Iterator[str]:
    yield f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
    title = "Added delay of streams of 50 tokens a second, one process"
    yield _text(LEFT, 28, title, "title")
    yield _text(LEFT, 48, "p99, ms", "soft")
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - 12, "streams at once", "soft", "middle")


def _axes() -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for delay in Y_TICKS:
        y = _y(delay)
        kind = "limit" if delay == MOST_DELAY_MS else "grid"
        yield f'<path class="{kind}" d="M{LEFT} {y:.1f}H{right}"/>'
        yield _text(LEFT - 8, y + 4, f"{delay:,g}", "soft", "end")
    for streams in X_TICKS:
        yield _text(_x(streams), bottom + 20, str(streams), "soft", "middle")


def _lines(holds: Mapping[str, Sequence[Step]]) -> Iterator[str]:
    ends = {name: _point(steps[-1]) for name, steps in holds.items()}
    labels = _apart({name: y for name, (_, y) in ends.items()})
    for name, steps in holds.items():
        points = [_point(step) for step in steps]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        x, y = ends[name]
        at = WIDTH - RIGHT + 14
        yield f'<g class="{"ours" if name == OURS else "other"}">'
        yield f'<path class="lead" d="M{x:.1f} {y:.1f}L{at - 4} {labels[name]:.1f}"/>'
        yield f'<polyline points="{path}"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
        yield _text(at, labels[name] + 4, name)
        yield "</g>"


def _apart(wanted: Mapping[str, float]) -> dict[str, float]:
    """Heights near the wanted ones at which labels do not touch."""
    placed: dict[str, float] = {}
    lowest = float(HEIGHT - BOTTOM)
    for name in sorted(wanted, key=lambda name: -wanted[name]):
        lowest = min(wanted[name], lowest)
        placed[name] = lowest
        lowest -= LABEL_HEIGHT
    too_high = max(0.0, TOP - min(placed.values(), default=TOP))
    return {name: y + too_high for name, y in placed.items()}


def _point(step: Step) -> tuple[float, float]:
    return _x(step.streams), _y(step.delay_ms[1])


def _x(streams: float) -> float:
    return LEFT + _share(streams, STREAMS) * (WIDTH - LEFT - RIGHT)


def _y(delay: float) -> float:
    return HEIGHT - BOTTOM - _share(delay, DELAYS) * (HEIGHT - TOP - BOTTOM)


def _share(value: float, ends: Iterable[float]) -> float:
    """Where a value stands between two, by their logarithms."""
    low, high = map(math.log, ends)
    return (min(max(math.log(max(value, 1e-3)), low), high) - low) / (high - low)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{kind}">{escape(text)}</text>'
