"""Counts and durations of this process, and `/metrics` made of them by prometheus-client when somebody asks."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, TypeVar

from longcall.engine.gauges import Gauges
from longcall.engine.metrics import TABLE, Kind, Metric, Readings

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

Labelled = tuple[str, ...]
Value = TypeVar("Value")


class Distribution:
    """A histogram's values so far: how many fell between two bounds, their sum, the least and the most."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.numbers: list[int] = [0] * (len(bounds) + 1)
        self.sum: float = 0.0
        self.min: float = inf
        self.max: float = -inf

    def take(self, value: float) -> None:
        """Take one value."""
        self.numbers[bisect_left(self.bounds, value)] += 1
        self.sum += value
        self.min, self.max = min(self.min, value), max(self.max, value)

    def buckets(self) -> list[tuple[str, float]]:
        """How many values were at most each bound, as Prometheus has it."""
        return list(zip([*map(str, self.bounds), "+Inf"], map(float, accumulate(self.numbers)), strict=True))


@dataclass(frozen=True)
class Tally:
    """What was counted and taken since the start of this process."""

    counts: dict[tuple[Metric, Labelled], int] = field(default_factory=dict)
    distributions: dict[tuple[Metric, Labelled], Distribution] = field(default_factory=dict)

    def add(self, metric: Metric, *labels: str) -> None:
        """Count one."""
        self.counts[metric, labels] = self.counts.get((metric, labels), 0) + 1

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Take one value into a histogram."""
        known = self.distributions.get((metric, labels))
        if known is None:
            known = self.distributions[metric, labels] = Distribution(metric.buckets)
        known.take(value)


@dataclass(frozen=True)
class Exposition:
    """`/metrics`. With `only_stored` just what the store knows: where a scrape meets one instance of several at random."""

    tally: Tally
    gauges: Gauges
    only_stored: bool = False

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """The metrics, and their content type as `accept` asks for it."""
        await asyncio.to_thread(import_module, "prometheus_client")  # once, and not while calls wait for the loop
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 — takes 60 ms of a start, and is not asked for by everybody
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 — as above

        readings = await (self.gauges.stored() if self.only_stored else self.gauges.read())
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(self._shown(), self.tally, readings))
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is no number
            encode, content_type = choose_encoder("")
        return encode(registry), content_type

    def _shown(self) -> list[Metric]:
        return [metric for metric in TABLE if metric.kind is Kind.STORE_GAUGE or not self.only_stored]


@dataclass(frozen=True, eq=False)
class _Families:
    """The table, filled in, as a collector of prometheus-client."""

    shown: Sequence[Metric]
    tally: Tally
    readings: Readings

    def collect(self) -> Iterable["Family"]:
        from prometheus_client.metrics_core import (  # noqa: PLC0415 — as above
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for metric in self.shown:
            name, said, labels = metric.prometheus, metric.description, metric.labels
            match metric.kind:
                case Kind.COUNTER:
                    counter = CounterMetricFamily(name, said, labels=labels)
                    for values, count in of(metric, self.tally.counts, 0).items():
                        counter.add_metric(values, count)
                    yield counter
                case Kind.HISTOGRAM:
                    histogram = HistogramMetricFamily(name, said, labels=labels)
                    for values, taken in of(metric, self.tally.distributions, Distribution(metric.buckets)).items():
                        histogram.add_metric(values, taken.buckets(), taken.sum)
                    yield histogram
                case Kind.GAUGE | Kind.STORE_GAUGE:
                    gauge = GaugeMetricFamily(name, said, labels=labels)
                    for values, reading in self.readings.get(metric, {}).items():
                        gauge.add_metric(values, reading)
                    yield gauge


def of(metric: Metric, all_of_them: Mapping[tuple[Metric, Labelled], Value], none: Value) -> dict[Labelled, Value]:
    """What there is of one metric by its labels. Without labels there is `none` from the start, so that a first step is seen."""
    found = {labels: value for (whose, labels), value in dict(all_of_them).items() if whose is metric}
    return found or ({} if metric.labels else {(): none})
