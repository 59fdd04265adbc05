"""Every metric, from the table that `/metrics` and OpenTelemetry are made from."""

from longcall.engine.metrics import TABLE
from made_from.markdown import table


def metrics() -> str:
    """A row for each metric."""
    return table(
        ("metric", "kind", "labels", "says"),
        [(f"`{each.prometheus}`", each.kind, ", ".join(each.labels), each.description) for each in TABLE],
    )
