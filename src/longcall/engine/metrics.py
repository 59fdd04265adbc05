"""Every metric, defined once: `/metrics`, OpenTelemetry and docs/metrics.md are made from this table.

Names are OpenTelemetry's. In Prometheus dots are underscores, then comes the unit, then `_total` for a counter, as collectors have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """How a metric adds up. What the store knows is the same from every runner, so it is not to be summed over them."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    STORE_GAUGE = "gauge of the store"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric. `unit` is `s` or nothing; `buckets` are a histogram's upper bounds."""

    name: str
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus."""
        ends = ("_seconds" if self.unit == "s" else "") + ("_total" if self.kind is Kind.COUNTER else "")
        return self.name.replace(".", "_") + ends


SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
TO_A_DAY = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 43200.0, 86400.0)

ACCEPTED = Metric("longcall.tasks.accepted", Kind.COUNTER, "Records made", ("kind",))
FINISHED = Metric("longcall.tasks.finished", Kind.COUNTER, "Tasks that came to their end", ("kind", "state"))
RECEIVED = Metric("longcall.dispatches.received", Kind.COUNTER, "Deliveries of a task's message; a held one is answered when its call ends")
DISPATCHES = Metric("longcall.dispatches", Kind.COUNTER, "Deliveries answered, by the status the queue was told", ("answer",))
QUEUE_LAG = Metric("longcall.queue.lag", Kind.HISTOGRAM, "From when an attempt was due to its start", unit="s", buckets=TO_A_DAY)
ATTEMPTS = Metric("longcall.attempts", Kind.COUNTER, "Attempts that ended, by how and class of status", ("kind", "outcome", "status_class"))
ATTEMPT = Metric("longcall.attempt", Kind.HISTOGRAM, "How long attempts took", ("kind", "outcome"), "s", TO_A_DAY)
RETRIES = Metric("longcall.retries", Kind.COUNTER, "Attempts that ended with another one to come", ("kind",))
CALLBACKS = Metric("longcall.callbacks", Kind.COUNTER, "Callbacks that ended: delivered or failed", ("result",))
LATE = Metric("longcall.outcomes.late", Kind.COUNTER, "Outcomes that came after their attempt was settled as lost")
RUNNERS_LOST = Metric("longcall.runners.lost", Kind.COUNTER, "Runners whose lease ran out, as found by this one")
BEATS_FAILED = Metric("longcall.beats.failed", Kind.COUNTER, "Signs of life that could not be written")
STORE = Metric("longcall.store", Kind.HISTOGRAM, "How long the store took", ("operation",), "s", SHORT)

RUNNING = Metric("longcall.running", Kind.GAUGE, "Calls that this runner holds")
RUNNING_OLDEST = Metric("longcall.running.oldest", Kind.GAUGE, "Age of the oldest call that this runner holds", unit="s")
RUNNING_AGE = Metric("longcall.running.age", Kind.GAUGE, "Ages of the calls that this runner holds, by quantile", ("quantile",), "s")
LEASE_AGE = Metric("longcall.lease.age", Kind.GAUGE, "Since this runner's last good sign of life; good for 30 s", unit="s")

TASKS = Metric("longcall.tasks", Kind.STORE_GAUGE, "Tasks by state, callbacks not counted", ("state",))
OVERDUE = Metric("longcall.overdue", Kind.STORE_GAUGE, "Tasks five minutes past the time of their next attempt")
OLDEST = Metric("longcall.oldest", Kind.STORE_GAUGE, "Age of the oldest task that has not ended", unit="s")
CALLBACKS_LATE = Metric("longcall.callbacks.late", Kind.STORE_GAUGE, "Callbacks not ended an hour after they were made, up to 100")
RUNNERS = Metric("longcall.runners", Kind.STORE_GAUGE, "Runners with a good lease")

TABLE = (
    ACCEPTED,
    FINISHED,
    RECEIVED,
    DISPATCHES,
    QUEUE_LAG,
    ATTEMPTS,
    ATTEMPT,
    RETRIES,
    CALLBACKS,
    LATE,
    RUNNERS_LOST,
    BEATS_FAILED,
    STORE,
    RUNNING,
    RUNNING_OLDEST,
    RUNNING_AGE,
    LEASE_AGE,
    TASKS,
    OVERDUE,
    OLDEST,
    CALLBACKS_LATE,
    RUNNERS,
)

Readings = Mapping[Metric, Mapping[tuple[str, ...], float]]
"""What gauges stand at: for each metric a value by the values of its labels."""


class Meter(Protocol):
    """Where counts and durations go. Called for every step of every task: it must cost next to nothing."""

    def add(self, metric: Metric, *labels: str) -> None:
        """Count one."""
        ...

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        """Take one value into a histogram."""
        ...
