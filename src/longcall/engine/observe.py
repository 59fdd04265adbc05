"""Where the engine says what happened: log events are dotted names with fields. The only module of the engine that logs."""

import structlog

from longcall.core.attempt import Outcome
from longcall.core.delivery import HandPut, Visit
from longcall.core.task import Task

log: structlog.stdlib.BoundLogger = structlog.get_logger("longcall")


def task_created(task: Task) -> None:
    """A record was made."""
    log.info("task.created", task=task.id, state=task.state.value, trace=task.trace)


def attempt_started(task: Task) -> None:
    """An attempt begins."""
    log.info("attempt.started", task=task.id, attempt=task.attempt_count, trace=task.trace)


def attempt_settled(task: Task, outcome: Outcome) -> None:
    """An attempt has ended and its record is written."""
    seconds = round((outcome.end_time - task.attempts[-1].start_time).total_seconds(), 3)
    status = task.attempts[-1].status
    log.info(
        "attempt.settled",
        task=task.id,
        attempt=task.attempt_count,
        outcome=outcome.name,
        status=status,
        seconds=seconds,
        state=task.state.value,
        trace=task.trace,
    )


def task_expired(task: Task) -> None:
    """A task ended before its next attempt because its time was over."""
    log.info("task.expired", task=task.id, trace=task.trace)


def outcome_late(task_id: str, attempt: int, outcome: Outcome) -> None:
    """An outcome came for an attempt that was no longer this runner's: kept here."""
    log.warning("outcome.late", task=task_id, attempt=attempt, outcome=outcome.name, trouble=str(outcome.trouble))


def message_odd(visit: Visit, why: str) -> None:
    """A message that should not be there."""
    log.error("message.odd", task=visit.task, version=visit.version, why=why)


def name_in_use(hand_put: HandPut, kept_as: str) -> None:
    """Somebody put another task on the queue under a name in use."""
    log.error("task.differs", task=hand_put.name, kept_as=kept_as)


def runner_lost(name: str, tasks: int) -> None:
    """A runner's lease is over and it left running tasks behind."""
    log.warning("runner.lost", runner=name, tasks=tasks)


def beat_failed(name: str, error: Exception) -> None:
    """A runner could not write its sign of life."""
    log.warning("lease.beat_failed", runner=name, error=str(error))


def out_of_reach(what: str, error: Exception) -> None:
    """The store or the queue does not answer; it is tried again."""
    log.warning("reach.lost", what=what, error=str(error))


def runner_draining(name: str, calls: int) -> None:
    """A runner was told to stop."""
    log.info("runner.draining", runner=name, calls=calls)


def cancel_requested(task: Task) -> None:
    """A caller wants no more of a task."""
    log.info("task.cancel_requested", task=task.id, state=task.state.value, trace=task.trace)


def task_retried(task: Task) -> None:
    """A task goes again because somebody asked for it."""
    log.info("task.retried", task=task.id, trace=task.trace)


def task_forgotten(task: Task) -> None:
    """A record was deleted because somebody asked for it."""
    log.info("task.forgotten", task=task.id, trace=task.trace)


def tasks_purged(number: int) -> None:
    """Records were deleted because they ended longer ago than is kept."""
    log.info("tasks.purged", tasks=number)
