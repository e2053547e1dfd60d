"""The documentation, the dashboard and the alerts name the metrics that exist."""

import json
import re
from pathlib import Path

import yaml

from streaming.runs.scrapes import SHARED_METRICS
from streaming.telemetry.metrics import PREFIX, PROCESS_METRICS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text()
ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "agent-stream.json"
NAME = re.compile(rf"\b{PREFIX}\w+")
#: Of a histogram, and the labels of each.
SUFFIXES = ("_bucket", "_count", "_sum")
LABELS = {
    metric.name: {*metric.labels, "pid", "instance", "job"}
    | ({"le"} if metric.kind == "histogram" else set())
    for metric in PROCESS_METRICS
} | {PREFIX + name: {*labels, "instance", "job"} for name, _, labels in SHARED_METRICS}
HISTOGRAMS = {m.name for m in PROCESS_METRICS if m.kind == "histogram"}
COUNTERS = {m.name for m in PROCESS_METRICS if m.kind == "counter"}


def rows() -> list[str]:
    """Return the table of the page as the metrics are declared."""
    declared = [(m.name, m.kind, (*m.labels, "pid"), m.help) for m in PROCESS_METRICS]
    declared += [
        (PREFIX + name, "gauge", labels, text) for name, text, labels in SHARED_METRICS
    ]
    return [
        f"| `{name}` | {kind} | {', '.join(f'`{each}`' for each in labels) or '-'} "
        f"| {text} |"
        for name, kind, labels, text in declared
    ]


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    shown = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return shown + [rule["expr"] for group in groups for rule in group["rules"]]


def metric_of(name: str) -> str:
    for suffix in SUFFIXES:
        if name.removesuffix(suffix) in HISTOGRAMS:
            return name.removesuffix(suffix)
    return name


def test_the_table_of_the_page_is_that_of_the_declarations() -> None:
    assert re.findall(rf"^\| `{PREFIX}.*\|$", PAGE, re.MULTILINE) == rows()


def test_no_two_metrics_have_one_name() -> None:
    assert len(LABELS) == len(PROCESS_METRICS) + len(SHARED_METRICS)
    assert all(name.endswith("_total") for name in COUNTERS)
    assert not any(name.endswith("_total") for name in LABELS.keys() - COUNTERS)


def test_every_metric_of_the_dashboard_and_the_alerts_exists() -> None:
    named = {name for each in expressions() for name in NAME.findall(each)}
    assert {metric_of(name) for name in named} <= LABELS.keys()
    bare = named & HISTOGRAMS
    assert bare == set(), "a histogram has no sample of its own name"


def test_the_dashboard_shows_every_metric() -> None:
    shown = {metric_of(n) for n in NAME.findall(DASHBOARD.read_text())}
    assert LABELS.keys() - shown - {f"{PREFIX}database_up"} == set()


def test_every_label_of_an_expression_is_one_of_its_metric() -> None:
    for expression in expressions():
        allowed = {
            label
            for name in NAME.findall(expression)
            for label in LABELS[metric_of(name)]
        }
        used = set(re.findall(r"(\w+)=~?\"", expression))
        for group in re.findall(r"by \(([\w, ]+)\)", expression):
            used |= set(group.split(", "))
        assert used <= allowed, expression


def test_counters_are_used_by_their_growth_alone() -> None:
    for expression in expressions():
        for name in NAME.findall(expression):
            if name in COUNTERS or name.endswith(SUFFIXES):
                before = expression[: expression.index(name)]
                assert before.endswith(("rate(", "increase(")), expression


def test_expressions_have_balanced_parentheses() -> None:
    for expression in expressions():
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), expression


def test_every_alert_has_a_severity_and_a_summary() -> None:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"]]
    assert len(names) == len(set(names)) > 0
    for group in groups:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"]
            allowed = {"alert", "expr", "for", "labels", "annotations"}
            assert rule.keys() <= allowed


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_the_counters_and_gauges_of_the_page_are_never_called_otherwise() -> None:
    """Names in the prose of the page exist too."""
    named = {metric_of(name) for name in NAME.findall(PAGE)}
    assert named == LABELS.keys()
