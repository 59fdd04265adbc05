"""The table of metrics as OpenTelemetry's: read from the tally and the gauges when they are sent, so that counting costs nothing more."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import time_ns

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint

from longcall.engine.gauges import Gauges
from longcall.engine.metrics import TABLE, Kind, Metric
from longcall.telemetry.tally import Distribution, Labelled, Tally, of

READ_LIMIT = 5.0  # seconds
Read = Callable[[], Mapping[Labelled, float]]


def observe_counters(meter: Meter, tally: Tally) -> None:
    """Have the SDK read the counters."""
    for metric in TABLE:
        if metric.kind is Kind.COUNTER:
            read = partial(_observed, metric, partial(of, metric, tally.counts, 0))
            meter.create_observable_counter(metric.name, [read], metric.unit, metric.description)


def observe_gauges(meter: Meter, gauges: Gauges, loop: asyncio.AbstractEventLoop) -> None:
    """Have the SDK read the gauges: in the loop, from the exporter's thread."""
    for metric in TABLE:
        if metric.kind in {Kind.GAUGE, Kind.STORE_GAUGE}:
            read = partial(_observed, metric, partial(_reading, metric, gauges, loop))
            meter.create_observable_gauge(metric.name, [read], metric.unit, metric.description)


def _observed(metric: Metric, read: Read, _: CallbackOptions) -> list[Observation]:
    return [Observation(value, _attributes(metric, labels)) for labels, value in read().items()]


def _reading(metric: Metric, gauges: Gauges, loop: asyncio.AbstractEventLoop) -> Mapping[Labelled, float]:
    if not loop.is_running():
        return {}
    try:
        return asyncio.run_coroutine_threadsafe(gauges.read(), loop).result(READ_LIMIT).get(metric, {})
    except TimeoutError:
        return {}


def _attributes(metric: Metric, labels: Labelled) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))


@dataclass(frozen=True)
class Histograms:
    """The histograms, as data of the SDK's."""

    tally: Tally
    start: int = field(default_factory=time_ns)

    def __call__(self) -> list[export.Metric]:
        """All of them, as they stand."""
        now = time_ns()
        return [self._metric(metric, now) for metric in TABLE if metric.kind is Kind.HISTOGRAM]

    def _metric(self, metric: Metric, now: int) -> export.Metric:
        found = {labels: taken for labels, taken in of(metric, self.tally.distributions, None).items() if taken is not None}
        points = [self._point(metric, labels, taken, now) for labels, taken in found.items()]
        return export.Metric(metric.name, metric.description, metric.unit, export.Histogram(points, AggregationTemporality.CUMULATIVE))

    def _point(self, metric: Metric, labels: Labelled, taken: Distribution, now: int) -> HistogramDataPoint:
        numbers = list(taken.numbers)
        return HistogramDataPoint(
            attributes=_attributes(metric, labels),
            start_time_unix_nano=self.start,
            time_unix_nano=now,
            count=sum(numbers),
            sum=taken.sum,
            bucket_counts=numbers,
            explicit_bounds=metric.buckets,
            min=taken.min,
            max=taken.max,
        )
