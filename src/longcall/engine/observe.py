"""Where the engine says what happened: in the log, in spans, in counts. The only module of the engine that does.

Log events are dotted names with fields. docs/logs.md lists them; a test holds it to this module. `task` and `trace` are on every line
about a task, `span` where the line is about one span of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from longcall.core.attempt import Outcome
from longcall.core.delivery import HandPut, Visit
from longcall.core.task import Kind, Task
from longcall.core.text import time_text
from longcall.core.trace import TraceContext
from longcall.engine import metrics
from longcall.engine.metrics import Meter, Metric
from longcall.engine.ports import Clock

log: structlog.stdlib.BoundLogger = structlog.get_logger("longcall")


class Traces(Protocol):
    """Where spans go.

    A span has its ids and times from the record: whoever settles an attempt, and be it a lost runner's, can tell of it.
    """

    def samples(self, context: TraceContext) -> bool:
        """Whether the trace that this span would be in is kept."""
        ...

    def created(self, task: Task, now: datetime) -> None:
        """A task was asked for at its createTime, and its record is made now."""
        ...

    def started(self, task: Task) -> None:
        """The last attempt begins: a short span, so that a call of hours is seen in its hours."""
        ...

    def settled(self, task: Task, outcome: Outcome) -> None:
        """The last attempt has ended."""
        ...


class _NoTraces:
    def samples(self, context: TraceContext) -> bool:
        return context.sampled

    def created(self, task: Task, now: datetime) -> None:
        pass

    def started(self, task: Task) -> None:
        pass

    def settled(self, task: Task, outcome: Outcome) -> None:
        pass


class _NoMeter:
    def add(self, metric: Metric, *labels: str) -> None:
        pass

    def record(self, metric: Metric, value: float, *labels: str) -> None:
        pass


@dataclass
class _Told:
    """Who is told besides the log: one for the process, as the log is."""

    traces: Traces
    meter: Meter


_told = _Told(_NoTraces(), _NoMeter())


@contextmanager
def telling(traces: Traces | None, meter: Meter) -> Iterator[None]:
    """Tell these as well; without `traces` no spans are made."""
    before = _told.traces, _told.meter
    _told.traces, _told.meter = traces or _NoTraces(), meter
    try:
        yield
    finally:
        _told.traces, _told.meter = before


def origin(caller: TraceContext | None, clock: Clock) -> TraceContext:
    """The span of a task to be made: below its caller's, or the first of a new trace. Whether it is kept, the sampler says."""
    span = clock.new_hex(16)
    context = TraceContext(clock.new_hex(32), span) if caller is None else caller.child(span)
    return replace(context, sampled=_told.traces.samples(context))


def task_created(task: Task, now: datetime) -> None:
    """A record was made: the task is Longcall's to see through."""
    log.info(
        "task.accepted",
        task=task.id,
        kind=task.kind.value,
        state=task.state.value,
        parent=task.parent,
        trace=task.trace,
        span=task.origin.span if task.origin else None,
    )
    _told.meter.add(metrics.ACCEPTED, task.kind.value)
    _told.traces.created(task, now)


def dispatch_received(visit: Visit) -> None:
    """The queue delivered a task's message to this runner."""
    log.info("dispatch.received", task=visit.task, version=visit.version)
    _told.meter.add(metrics.RECEIVED)


def dispatch_answered(status: int) -> None:
    """The queue was told what became of a delivery."""
    _told.meter.add(metrics.DISPATCHES, str(status))


def task_taken(before: Task, taken: Task) -> None:
    """A runner made an attempt its own."""
    due = before.next_attempt_time or before.update_time
    _told.meter.record(metrics.QUEUE_LAG, max((taken.update_time - due).total_seconds(), 0.0))


def store_answered(operation: str, seconds: float) -> None:
    """The store did something, or failed to."""
    _told.meter.record(metrics.STORE, seconds, operation)


def attempt_started(task: Task) -> None:
    """An attempt begins."""
    log.info("attempt.started", task=task.id, attempt=task.attempt_count, runner=task.owner, trace=task.trace, span=_span(task))
    _told.traces.started(task)


def attempt_held(task: Task, open_for: timedelta, received: int) -> None:
    """Every five minutes: the call is still there, and so many bytes of its response's body have come."""
    seconds = _seconds(open_for)
    log.info("attempt.held", task=task.id, attempt=task.attempt_count, seconds=seconds, bytes=received, trace=task.trace, span=_span(task))


def attempt_settled(task: Task, outcome: Outcome) -> None:
    """An attempt has ended: how, and whether and when it goes again."""
    attempt = task.attempts[-1]
    trouble = outcome.trouble
    log.info(
        "attempt.settled",
        task=task.id,
        attempt=attempt.number,
        outcome=outcome.name,
        status=attempt.status,
        seconds=_seconds(outcome.end_time - attempt.start_time),
        state=task.state.value,
        retry_time=time_text(attempt.retry_time) if attempt.retry_time else None,
        code=trouble.code if trouble else None,
        why=trouble.message if trouble else None,
        hint=trouble.hint if trouble else None,
        trace=task.trace,
        span=attempt.span or None,
    )
    kind, name = task.kind.value, outcome.name
    _told.meter.add(metrics.ATTEMPTS, kind, name, f"{attempt.status // 100}xx" if attempt.status else "")
    _told.meter.record(metrics.ATTEMPT, (outcome.end_time - attempt.start_time).total_seconds(), kind, name)
    if attempt.retry_time is not None:
        _told.meter.add(metrics.RETRIES, kind)
    _told.traces.settled(task, outcome)
    if task.state.ended:
        task_finished(task)


def task_finished(task: Task) -> None:
    """The task's end."""
    log.info(
        "task.finished",
        task=task.id,
        state=task.state.value,
        reason=task.failure.reason if task.failure else None,
        why=task.failure.message if task.failure else None,
        attempts=task.attempt_count,
        seconds=_seconds(task.update_time - task.create_time),
        trace=task.trace,
    )
    _told.meter.add(metrics.FINISHED, task.kind.value, task.state.value)
    if task.kind is Kind.CALLBACK:
        callback_ended(task)


def callback_ended(task: Task) -> None:
    """The caller was told of an end, or could not be."""
    _told.meter.add(metrics.CALLBACKS, "failed" if task.failure else "delivered")
    if task.failure is None:
        log.info("callback.delivered", task=task.parent, callback=task.id, attempts=task.attempt_count, trace=task.trace)
    else:
        log.error("callback.failed", task=task.parent, callback=task.id, why=task.failure.message, trace=task.trace)


def outcome_late(task_id: str, attempt: int, outcome: Outcome) -> None:
    """An outcome came for an attempt that was settled as lost meanwhile: this is where it is kept."""
    log.warning("outcome.late", task=task_id, attempt=attempt, outcome=outcome.name, trouble=str(outcome.trouble))
    _told.meter.add(metrics.LATE)


def message_odd(visit: Visit, why: str) -> None:
    """A message that should not be there."""
    log.error("message.odd", task=visit.task, version=visit.version, why=why)


def name_in_use(hand_put: HandPut, kept_as: str) -> None:
    """Somebody put another task on the queue under a name in use; it is kept apart."""
    log.error("task.differs", task=hand_put.name, kept_as=kept_as)


def cancel_requested(task: Task) -> None:
    """A caller wants no more of it."""
    log.info("task.cancel_requested", task=task.id, state=task.state.value, trace=task.trace)
    if task.state.ended:
        task_finished(task)


def task_retried(task: Task) -> None:
    """Somebody asked for it to be run again, or now."""
    log.info("task.retried", task=task.id, trace=task.trace)


def task_forgotten(task: Task) -> None:
    """Somebody deleted it."""
    log.info("task.forgotten", task=task.id, trace=task.trace)


def tasks_purged(number: int) -> None:
    """Records went because their retention was over."""
    log.info("tasks.purged", tasks=number)


def queue_odd(what: str, todo: str) -> None:
    """A queue is not set as it must be, as seen at the start of a runner; `longcall doctor` looks again."""
    log.warning("queue.odd", what=what, todo=todo)


def secrets_rotated(names: Sequence[str]) -> None:
    """Secrets were changed in Secret Manager, and are used from now on."""
    log.info("secrets.rotated", names=", ".join(names))


def runner_started(name: str, version: str, max_calls: int) -> None:
    """A runner has its lease and takes tasks."""
    log.info("runner.started", runner=name, version=version, max_calls=max_calls)


def runner_draining(name: str, calls: int) -> None:
    """A runner was told to stop."""
    log.info("runner.draining", runner=name, calls=calls)


def runner_stopped(name: str, left: int) -> None:
    """A runner has ended its lease; what is left is settled by whoever gets its look."""
    log.info("runner.stopped", runner=name, left=left)


def runner_lost(name: str, tasks: int) -> None:
    """A runner's lease is over; what it left behind is settled now."""
    log.warning("runner.lost", runner=name, tasks=tasks)
    _told.meter.add(metrics.RUNNERS_LOST)


def beat_failed(name: str, error: Exception) -> None:
    """A runner could not write its sign of life."""
    log.warning("runner.beat_failed", runner=name, error=str(error) or type(error).__name__)
    _told.meter.add(metrics.BEATS_FAILED)


def out_of_reach(what: str, error: Exception) -> None:
    """The store, the queue or the OTLP collector does not answer; it is tried again."""
    log.warning("reach.lost", what=what, error=str(error) or type(error).__name__)


def _span(task: Task) -> str | None:
    return (task.attempt.span if task.attempt else "") or None


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 3)
