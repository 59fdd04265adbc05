"""What goes out for one attempt: the caller's request, the headers Longcall adds, and the attempt's clocks."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from longcall.core.attempt import RESPONSE
from longcall.core.task import Task, TaskSpec
from longcall.core.text import time_text
from longcall.core.trace import TraceContext


@dataclass(frozen=True, slots=True)
class Limits:
    """An attempt's clocks. `connect`: DNS, TCP, TLS. `idle`: no byte from the target for so long. `total`: the whole attempt.

    `by_task` says that `total` is what is left of `taskTimeout`.
    """

    connect: timedelta
    idle: timedelta | None
    total: timedelta
    by_task: bool = False


def limits(task: Task, spec: TaskSpec, now: datetime) -> Limits:
    """The clocks of an attempt that begins now: its own limit, or what is left of `taskTimeout` where that is less."""
    left = None if task.deadline is None else max(task.deadline - now, timedelta())
    if left is not None and left < spec.attempt_timeout:
        return Limits(spec.connect_timeout, spec.idle_timeout, left, by_task=True)
    return Limits(spec.connect_timeout, spec.idle_timeout, spec.attempt_timeout)


def headers(task: Task, spec: TaskSpec, deadline: datetime, agent: str) -> tuple[tuple[str, str], ...]:
    """Every header of the attempt: the caller's own, and DESIGN's "what the target sees". `agent` is our name."""
    mine = {"Idempotency-Key": f'"{task.id}"', "User-Agent": agent} | _trace(task, spec)
    free = {name: value for name, value in mine.items() if not spec.request.has_header(name.lower())}
    return tuple((dict(spec.request.headers) | free | _longcall(task, spec, deadline) | _cloud_tasks(task)).items())


def _trace(task: Task, spec: TaskSpec) -> dict[str, str]:
    """The attempt's place in the trace, unless the caller gave one: the state belongs to the `traceparent` it came with."""
    origin = task.origin or TraceContext(task.trace)
    if task.attempt is None or not task.attempt.span or spec.request.has_header("traceparent"):
        return {}
    told = {"traceparent": origin.child(task.attempt.span).traceparent, "tracestate": origin.state, "baggage": origin.baggage}
    return {name: value for name, value in told.items() if value}


def _longcall(task: Task, spec: TaskSpec, deadline: datetime) -> dict[str, str]:
    previous = task.attempts[-2].outcome if len(task.attempts) > 1 else None
    return {
        "Longcall-Task": task.id,
        "Longcall-Attempt": str(task.attempt_count),
        "Longcall-Max-Attempts": str(spec.retry.max_attempts),
        "Longcall-Deadline": time_text(deadline),
    } | ({"Longcall-Previous": previous} if previous else {})


def _cloud_tasks(task: Task) -> dict[str, str]:
    """For handlers written for Cloud Tasks; the execution count is of answers, 5xx left out, as HTTP targets know it."""
    answered = sum(each.outcome == RESPONSE and each.status is not None and each.status < 500 for each in task.attempts)  # noqa: PLR2004 — 5xx
    return {
        "X-CloudTasks-QueueName": task.queue.rpartition("/")[2],
        "X-CloudTasks-TaskName": task.id,
        "X-CloudTasks-TaskRetryCount": str(task.attempt_count - 1),
        "X-CloudTasks-TaskExecutionCount": str(answered),
    }
