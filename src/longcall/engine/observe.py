"""Where the engine says what happened: log events are dotted names with fields. The only module of the engine that logs.

docs/logs.md lists them; a test holds it to this module. `task` and `trace` are on every line about a task.
"""

from datetime import timedelta

import structlog

from longcall.core.attempt import Outcome
from longcall.core.delivery import HandPut, Visit
from longcall.core.task import Kind, Task
from longcall.core.text import time_text

log: structlog.stdlib.BoundLogger = structlog.get_logger("longcall")


def task_created(task: Task) -> None:
    """A record was made: the task is Longcall's to see through."""
    log.info("task.accepted", task=task.id, kind=task.kind.value, state=task.state.value, parent=task.parent, trace=task.trace)


def dispatch_received(visit: Visit) -> None:
    """The queue delivered a task's message to this runner."""
    log.info("dispatch.received", task=visit.task, version=visit.version)


def attempt_started(task: Task) -> None:
    """An attempt begins."""
    log.info("attempt.started", task=task.id, attempt=task.attempt_count, runner=task.owner, trace=task.trace)


def attempt_held(task: Task, open_for: timedelta) -> None:
    """Every five minutes: the call is still there."""
    log.info("attempt.held", task=task.id, attempt=task.attempt_count, seconds=_seconds(open_for), trace=task.trace)


def attempt_settled(task: Task, outcome: Outcome) -> None:
    """An attempt has ended and its record is written: how, and whether and when it goes again."""
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
    )
    if task.state.ended:
        task_finished(task)


def task_finished(task: Task) -> None:
    """A task has come to its end."""
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
    if task.kind is Kind.CALLBACK:
        callback_ended(task)


def callback_ended(task: Task) -> None:
    """The caller was told of an end, or could not be."""
    if task.failure is None:
        log.info("callback.delivered", task=task.parent, callback=task.id, attempts=task.attempt_count, trace=task.trace)
    else:
        log.error("callback.failed", task=task.parent, callback=task.id, why=task.failure.message, trace=task.trace)


def outcome_late(task_id: str, attempt: int, outcome: Outcome) -> None:
    """An outcome came for an attempt that was no longer this runner's: kept here."""
    log.warning("outcome.late", task=task_id, attempt=attempt, outcome=outcome.name, trouble=str(outcome.trouble))


def message_odd(visit: Visit, why: str) -> None:
    """A message that should not be there."""
    log.error("message.odd", task=visit.task, version=visit.version, why=why)


def name_in_use(hand_put: HandPut, kept_as: str) -> None:
    """Somebody put another task on the queue under a name in use."""
    log.error("task.differs", task=hand_put.name, kept_as=kept_as)


def cancel_requested(task: Task) -> None:
    """A caller wants no more of a task."""
    log.info("task.cancel_requested", task=task.id, state=task.state.value, trace=task.trace)
    if task.state.ended:
        task_finished(task)


def task_retried(task: Task) -> None:
    """A task goes again because somebody asked for it."""
    log.info("task.retried", task=task.id, trace=task.trace)


def task_forgotten(task: Task) -> None:
    """A record was deleted because somebody asked for it."""
    log.info("task.forgotten", task=task.id, trace=task.trace)


def tasks_purged(number: int) -> None:
    """Records were deleted because they ended longer ago than is kept."""
    log.info("tasks.purged", tasks=number)


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
    """A runner's lease is over; it left running tasks behind, which are settled now."""
    log.warning("runner.lost", runner=name, tasks=tasks)


def beat_failed(name: str, error: Exception) -> None:
    """A runner could not write its sign of life."""
    log.warning("runner.beat_failed", runner=name, error=str(error) or type(error).__name__)


def out_of_reach(what: str, error: Exception) -> None:
    """The store or the queue does not answer; it is tried again."""
    log.warning("reach.lost", what=what, error=str(error) or type(error).__name__)


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 3)
