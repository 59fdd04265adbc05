"""What sends by OTLP, and says once when its collector is away."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._shared_internal import BatchProcessor
from opentelemetry.sdk.metrics.export import Metric, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from longcall.engine import observe

if TYPE_CHECKING:
    from requests import Session

SPANS, METRICS, QUEUE = OTLPSpanExporter.__module__, OTLPMetricExporter.__module__, BatchProcessor.__module__


class Outage(logging.Filter):
    """Says once that the collector is away, and nothing more until it was there again; the libraries' own words are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._away: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a library's line is written: what an absence explains is not."""
        if record.name == QUEUE:
            return not self._away
        if not self._away:
            observe.out_of_reach("the OTLP collector", OSError(record.getMessage()))
        self._away.add(record.name)
        return False

    def over(self, exporter: str) -> None:
        """What was sent has arrived."""
        self._away.discard(exporter)

    @contextmanager
    def listening(self) -> Iterator["Outage"]:
        """Hear what the exporters would log."""
        loggers = [logging.getLogger(name) for name in (SPANS, METRICS, QUEUE)]
        for logger in loggers:
            logger.addFilter(self)
        try:
            yield self
        finally:
            for logger in loggers:
                logger.removeFilter(self)


class SpanExporter(OTLPSpanExporter):
    """Sends spans."""

    def __init__(self, endpoint: str, session: "Session | None", outage: Outage) -> None:
        super().__init__(endpoint, session=session)
        self._outage = outage

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self._outage.over(SPANS)
        return result


class MetricExporter(OTLPMetricExporter):
    """Sends what the SDK has read, and with it what `further` gives: there is no instrument for a histogram that is kept elsewhere."""

    def __init__(self, endpoint: str, session: "Session | None", outage: Outage, further: Callable[[], Sequence[Metric]]) -> None:
        super().__init__(endpoint, session=session)
        self._outage = outage
        self._further = further

    def export(self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **more: object) -> MetricExportResult:
        """Send one reading."""
        of_resource, *others = metrics_data.resource_metrics
        of_scope, *rest = of_resource.scope_metrics
        whole = replace(of_scope, metrics=[*of_scope.metrics, *self._further()])
        data = MetricsData([replace(of_resource, scope_metrics=[whole, *rest]), *others])
        result = super().export(data, timeout_millis, **more)
        if result is MetricExportResult.SUCCESS:
            self._outage.over(METRICS)
        return result
