"""The added delay against the number of streams, as an SVG for light and dark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from bench.latency import MOST_DELAY_MS, STEPS, Step, most_held
from bench.servers_under_test import CEILING, CEILINGS, OURS, UPSTREAM

WIDTH, HEIGHT = 930, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 306, 72, 56
ROW = 22
STREAMS = (10.0, 960.0)
DELAYS = (0.1, 10_000.0)
Y_TICKS = (0.1, 1, 10, 100, 1000, 10_000)
LEFT_OUT = {UPSTREAM, CEILING}
#: Of the others, for light and for dark.
COLOURS = (
    ("#bc4c00", "#f0883e"),
    ("#1a7f37", "#3fb950"),
    ("#8250df", "#bc8cff"),
    ("#bf3989", "#f778ba"),
    ("#9a6700", "#d29922"),
    ("#0f7b8a", "#39c5cf"),
)

STYLE = """
svg { font: 13px system-ui, sans-serif; --ink: #1f2328; --soft: #656d76;
  --line: #d8dee4; --page: #ffffff; --ours: #0969da; %s }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --soft: #8d96a0;
  --line: #30363d; --page: #0d1117; --ours: #58a6ff; %s } }
.page { fill: var(--page); } text { fill: var(--ink); } .soft { fill: var(--soft); }
.title { font-weight: 600; font-size: 15px; } .grid { stroke: var(--line); }
.limit { stroke: var(--soft); stroke-dasharray: 5 4; }
g { --colour: var(--soft); } polyline { fill: none; stroke: var(--colour); }
polyline { stroke-width: 1.75; stroke-linejoin: round; } circle { fill: var(--colour); }
.ours { --colour: var(--ours); } .ours polyline { stroke-width: 3.5; }
.ours text { fill: var(--ours); font-weight: 600; }
.ceiling polyline { stroke-dasharray: 2 3; }
"""


def draw(capacity: Mapping[str, Sequence[Step]]) -> str:
    """The whole image; the server that holds most is the first of its legend."""
    shown = [(name, steps) for name, steps in capacity.items() if name not in LEFT_OUT]
    shown.sort(key=lambda one: -most_held(one[1]))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<style>{_style()}</style>",
        *_frame(),
        *_axes(),
        *_series(shown),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _style() -> str:
    light, dark = (
        " ".join(f"--c{n}: {pair[mode]};" for n, pair in enumerate(COLOURS))
        for mode in (0, 1)
    )
    return STYLE % (light, dark)


def _frame() -> Iterator[str]:
    title = "Added delay of streams of 50 tokens a second, one process"
    yield f"<title>{title}</title>"
    yield f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
    yield _text(LEFT, 30, title, "title")
    yield _text(LEFT, 52, "p99, ms", "soft")
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - 14, "streams at once", "soft", "middle")
    yield _text(WIDTH - 24, TOP + 4, "streams held", "soft", "end")


def _axes() -> Iterator[str]:
    for delay in Y_TICKS:
        y = _y(delay)
        kind = "limit" if delay == MOST_DELAY_MS else "grid"
        yield f'<path class="{kind}" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 8, y + 4, f"{delay:,g}", "soft", "end")
    for streams in STEPS:
        y = HEIGHT - BOTTOM + 20
        yield _text(_x(streams), y, str(streams), "soft", "middle")


def _series(shown: Sequence[tuple[str, Sequence[Step]]]) -> Iterator[str]:
    ceilings = {one.name for one in CEILINGS}
    colours = iter(range(len(COLOURS)))
    for row, (name, steps) in enumerate(shown, start=1):
        if name == OURS:
            yield '<g class="ours">'
        elif name in ceilings:
            yield '<g class="ceiling">'
        else:
            yield f'<g style="--colour: var(--c{next(colours)})">'
        yield from _line(steps)
        yield from _legend(TOP + row * ROW, name, most_held(steps))
        yield "</g>"


def _line(steps: Sequence[Step]) -> Iterator[str]:
    points = [(_x(step.streams), _y(step.delay_ms[1])) for step in steps]
    yield _polyline(points)
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)


def _legend(y: float, name: str, held: int) -> Iterator[str]:
    start = WIDTH - RIGHT + 28
    yield _polyline([(start, y), (start + 20, y)])
    yield _text(start + 28, y + 4, name)
    yield _text(WIDTH - 24, y + 4, str(held), anchor="end")


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{kind}">{escape(text)}</text>'


def _x(streams: float) -> float:
    return LEFT + _share(streams, *STREAMS) * (WIDTH - LEFT - RIGHT)


def _y(delay: float) -> float:
    return HEIGHT - BOTTOM - _share(delay, *DELAYS) * (HEIGHT - TOP - BOTTOM)


def _share(value: float, low: float, high: float) -> float:
    """Where a value stands between two, by their logarithms."""
    inside = min(max(value, low), high)
    return math.log(inside / low) / math.log(high / low)
