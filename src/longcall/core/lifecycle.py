"""The state machine: one pure function an event, and one table of what may lead where. docs/lifecycle.md is made from the table.

Every function takes the record as it stands and returns its next version; what that version needs queued is for the engine to do first.
"""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TypedDict, Unpack, assert_never

from longcall.core.attempt import Attempt, Break, Broken, Outcome, Responded, Response, Trouble
from longcall.core.errors import LongcallError
from longcall.core.retry import Budget, GiveUp, Succeed, TryAgain, decide
from longcall.core.task import Failure, Kind, State, Task, TaskSpec, Unreadable
from longcall.core.trace import TraceContext

FIRST_KEPT, LAST_KEPT = 1, 49
GONE = 410


class Event(StrEnum):
    """What can happen to a task."""

    TAKE = "take"
    SETTLE = "settle"
    EXPIRE = "expire"
    CANCEL = "cancel"
    RETRY = "retry"


LEADS_TO: dict[tuple[State, Event], frozenset[State]] = {
    (State.SCHEDULED, Event.TAKE): frozenset({State.RUNNING}),
    (State.WAITING, Event.TAKE): frozenset({State.RUNNING}),
    (State.SCHEDULED, Event.EXPIRE): frozenset({State.FAILED}),
    (State.WAITING, Event.EXPIRE): frozenset({State.FAILED}),
    (State.RUNNING, Event.SETTLE): frozenset({State.SUCCEEDED, State.WAITING, State.FAILED, State.CANCELLED}),
    (State.SCHEDULED, Event.CANCEL): frozenset({State.CANCELLED}),
    (State.WAITING, Event.CANCEL): frozenset({State.CANCELLED}),
    (State.RUNNING, Event.CANCEL): frozenset({State.RUNNING}),  # asked for: its owner closes the connection and settles
    (State.SCHEDULED, Event.RETRY): frozenset({State.SCHEDULED}),  # now, not at its time
    (State.WAITING, Event.RETRY): frozenset({State.WAITING}),
    (State.FAILED, Event.RETRY): frozenset({State.WAITING}),
    (State.CANCELLED, Event.RETRY): frozenset({State.WAITING}),
}


class _Changes(TypedDict, total=False):
    """The fields of a Task that an event may change."""

    state: State
    owner: str | None
    budget: Budget
    attempt_count: int
    attempts: tuple[Attempt, ...]
    next_attempt_time: datetime | None
    finish_time: datetime | None
    cancel_request_time: datetime | None
    failure: Failure | None
    response: Response | None


class WrongEventError(LongcallError):
    """This event can't happen to a task in this state."""


def create(task_id: str, spec: TaskSpec, *, queue: str, trace: str, now: datetime, origin: TraceContext | None = None) -> Task:
    """Version 1 of a task, SCHEDULED for its scheduleTime or at once."""
    start = max(spec.schedule_time or now, now)
    return Task(
        id=task_id,
        spec=spec,
        state=State.SCHEDULED,
        create_time=now,
        update_time=now,
        queue=queue,
        trace=trace,
        origin=origin,
        budget=Budget(start),
        next_attempt_time=start,
    )


def of_parent(task: Task, kind: Kind, parent: str) -> Task:
    """A task just created that belongs to another."""
    return replace(task, kind=kind, parent=parent)


def reject(task_id: str, spec: Unreadable, *, queue: str, trace: str, now: datetime, origin: TraceContext | None = None) -> Task:
    """Version 1 and the end of something that was put on the queue and is no valid task."""
    return Task(
        id=task_id,
        spec=spec,
        state=State.FAILED,
        create_time=now,
        update_time=now,
        finish_time=now,
        queue=queue,
        trace=trace,
        origin=origin,
        budget=Budget(now),
        failure=Failure("invalid", spec.problem, may_have_run=False),
    )


def take(task: Task, runner: str, now: datetime, span: str = "") -> Task:
    """The runner makes the next attempt its own. `span` is the attempt's id in the trace."""
    number = task.attempt_count + 1
    return _next(
        task,
        Event.TAKE,
        now,
        state=State.RUNNING,
        owner=runner,
        attempt_count=number,
        attempts=_trimmed((*task.attempts, Attempt(number, runner, start_time=now, span=span))),
        next_attempt_time=None,
    )


def expired(task: Task, now: datetime) -> bool:
    """Tell whether `taskTimeout` is over, so that no attempt may begin any more."""
    return task.deadline is not None and now >= task.deadline


def expire(task: Task, now: datetime) -> Task:
    """The task ends because `taskTimeout` was over before its next attempt began."""
    ran = any(attempt.may_have_run for attempt in task.attempts)
    failure = Failure("task_timeout", "taskTimeout was over before the next attempt began", ran)
    return _next(task, Event.EXPIRE, now, **_ended(State.FAILED, now, failure))


def cancel(task: Task, now: datetime) -> Task:
    """The caller wants no more of it. A running attempt is only asked to stop: the target may go on working."""
    if task.state is State.RUNNING:
        return _next(task, Event.CANCEL, now, cancel_request_time=now)
    return _next(task, Event.CANCEL, now, **_ended(State.CANCELLED, now))


def retry(task: Task, now: datetime) -> Task:
    """Now rather than later; of an end also again: attempts and taskTimeout are counted afresh, the history is kept."""
    if task.state in {State.SCHEDULED, State.WAITING}:
        return _next(task, Event.RETRY, now, next_attempt_time=now)
    fresh: _Changes = {"state": State.WAITING, "budget": Budget(now), "next_attempt_time": now}
    open_again: _Changes = {"finish_time": None, "failure": None, "cancel_request_time": None}
    return _next(task, Event.RETRY, now, **(fresh | open_again))


def settle(task: Task, outcome: Outcome, now: datetime, chance: float) -> Task:
    """The running attempt has ended: what becomes of the task. A 2xx wins over a cancel request; any other outcome then ends CANCELLED."""
    if isinstance(task.spec, Unreadable) or task.state is not State.RUNNING:
        raise WrongEventError(f"no attempt of task {task.id} runs, so none can be settled: it is {task.state}")
    budget = _spent(task.budget, outcome)
    decision = _gone(task, outcome) or decide(task.spec.retry, outcome, budget, task.deadline, now, chance)
    attempts = (*task.attempts[:-1], _closed(task.attempts[-1], outcome, decision))
    response = outcome.response if isinstance(outcome, Responded) else task.response
    done: _Changes = {"budget": budget, "attempts": attempts, "response": response}
    return _next(task, Event.SETTLE, now, **(_decided(task, outcome, decision, now) | done))


def _gone(task: Task, outcome: Outcome) -> GiveUp | None:
    """A receiver that answers 410 wants no more callbacks (Standard Webhooks), whatever the policy says."""
    gone = task.kind is Kind.CALLBACK and isinstance(outcome, Responded) and outcome.response.status == GONE
    return GiveUp("status", "the receiver wants no more of them") if gone else None


def _decided(task: Task, outcome: Outcome, decision: Succeed | TryAgain | GiveUp, now: datetime) -> _Changes:
    if isinstance(decision, Succeed):
        return _ended(State.SUCCEEDED, now)
    if task.cancel_request_time is not None or _cancelled(outcome):
        return _ended(State.CANCELLED, now)
    match decision:
        case TryAgain(at):
            return {"state": State.WAITING, "owner": None, "next_attempt_time": at}
        case GiveUp(reason, why):
            return _ended(State.FAILED, now, _failure(reason, why, outcome))
        case _:
            assert_never(decision)


def _cancelled(outcome: Outcome) -> bool:
    return isinstance(outcome, Broken) and outcome.how is Break.CANCELLED


def _failure(reason: str, why: str, outcome: Outcome) -> Failure:
    said = outcome.trouble or Trouble("OK", "")
    return Failure(reason, f"{said.message}; {why}", outcome.may_have_run)


def _spent(budget: Budget, outcome: Outcome) -> Budget:
    if isinstance(outcome, Broken) and outcome.drained:
        return replace(budget, drains=budget.drains + 1)
    return replace(budget, tries=budget.tries + 1)


def _closed(attempt: Attempt, outcome: Outcome, decision: Succeed | TryAgain | GiveUp) -> Attempt:
    return replace(
        attempt,
        sent_time=outcome.sent_time,
        end_time=outcome.end_time,
        outcome=outcome.name,
        status=outcome.response.status if isinstance(outcome, Responded) else None,
        may_have_run=outcome.may_have_run,
        trouble=outcome.trouble,
        retry_time=decision.at if isinstance(decision, TryAgain) else None,
    )


def _ended(state: State, now: datetime, failure: Failure | None = None) -> _Changes:
    return {"state": state, "owner": None, "next_attempt_time": None, "finish_time": now, "failure": failure}


def _trimmed(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    if len(attempts) <= FIRST_KEPT + LAST_KEPT:
        return attempts
    return attempts[:FIRST_KEPT] + attempts[-LAST_KEPT:]


def _next(before: Task, event: Event, now: datetime, **changes: Unpack[_Changes]) -> Task:
    after = replace(before, version=before.version + 1, update_time=now, **changes)
    if after.state not in LEADS_TO.get((before.state, event), frozenset()):
        raise WrongEventError(f"{event} can't lead a {before.state} task to {after.state}")
    return after
