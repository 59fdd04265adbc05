"""The dashboard, the alert rules and the page of metrics speak only of metrics that are there, with labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own

from longcall.engine.metrics import TABLE, Kind, Metric

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
NAMES = {metric.prometheus: metric for metric in TABLE}
PARTS = {f"{metric.prometheus}_{part}": metric for metric in TABLE if metric.kind is Kind.HISTOGRAM for part in ("bucket", "sum", "count")}
ADDED = {"le", "instance", "job"}  # by histograms, and by Prometheus itself
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in RULES),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]


def metrics_in(expression: str) -> Iterator[Metric]:
    """The metrics that an expression asks for. Raises KeyError for one that is not there."""
    known = PARTS | {name: metric for name, metric in NAMES.items() if metric.kind is not Kind.HISTOGRAM}
    return (known[name] for name in re.findall(r"longcall_\w+", expression))


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_expression_asks_for_metrics_and_labels_that_are_there(where: str, expression: str) -> None:
    """A metric that was renamed would leave a panel empty and an alert silent."""
    found = list(metrics_in(expression))
    assert found, where
    labels = {label for metric in found for label in metric.labels} | ADDED
    asked = {label.strip() for group in re.findall(r"\bby \(([^)]+)\)", expression) for label in group.split(",")}
    asked |= {label for group in re.findall(r"\{([^}]+)\}", expression) for label in re.findall(r"(\w+)[=!]", group)}
    assert asked <= labels


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_what_the_store_knows_is_not_summed(where: str, expression: str) -> None:
    """Every runner says the same of it; and a counter is never shown without its rate."""
    assert expression.count("(") == expression.count(")"), where
    for metric in metrics_in(expression):
        if metric.kind is Kind.STORE_GAUGE:
            assert re.search(rf"max( by \([^)]*\) )?\({metric.prometheus}\)", expression), where
        if metric.kind is Kind.COUNTER:
            assert re.search(rf"(rate|increase)\({metric.prometheus}(\{{[^}}]*\}})?\[", expression), where


def test_the_promised_alerts_are_there() -> None:
    """Overdue, own lease, refusals, silence while tasks are due, callbacks; each says what to look at."""
    asked = {metric.prometheus for rule in RULES for metric in metrics_in(rule["expr"])}
    assert asked == {
        "longcall_overdue",
        "longcall_lease_age_seconds",
        "longcall_dispatches_total",
        "longcall_dispatches_received_total",
        "longcall_callbacks_late",
    }
    assert all(rule["labels"]["severity"] and rule["annotations"]["summary"] and rule["annotations"]["description"] for rule in RULES)


def test_every_metric_is_in_a_panel() -> None:
    """What is measured can be looked at."""
    shown = {metric.prometheus for panel in PANELS for target in panel["targets"] for metric in metrics_in(target["expr"])}
    assert shown == set(NAMES)
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_page_and_table_agree() -> None:
    """docs/metrics.md lists every metric with its kind, labels and description, and nothing else."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(longcall_\w+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$", page, re.MULTILINE)
    table = [(each.prometheus, each.kind.value, ", ".join(each.labels), each.description) for each in TABLE]
    assert [tuple(map(str.strip, row)) for row in rows] == table
