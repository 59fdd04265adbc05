"""What the end of a dispatch does to its task. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from longcall.queue import backoff
from longcall.queue.errors import Code
from longcall.queue.model import AppEngineTarget, Attempt, QueuedTask, RetryConfig, RetryOverride

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ABORTED,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_RETENTION = timedelta(days=31)
"""How long Cloud Tasks keeps trying, whatever the retry configuration: https://cloud.google.com/tasks/docs/quotas."""

_FIRST_SUCCESS, _FIRST_NO_SUCCESS = 200, 300
_FIRST_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """How a dispatch ended: with the target's HTTP status, or without one and why."""

    status: int | None
    code: Code
    message: str = ""

    @classmethod
    def of(cls, status: int) -> "Answer":
        """Return the target's answer. Success is 200 to 299 and nothing else."""
        if _FIRST_SUCCESS <= status < _FIRST_NO_SUCCESS:
            return cls(status, Code.OK)
        code = _CODES.get(status, Code.UNKNOWN)
        return cls(status, code, f"{code.name}({code.number}): HTTP status code {status}")

    @classmethod
    def too_late(cls) -> "Answer":
        """Return the end of a dispatch whose deadline passed."""
        return cls(None, Code.DEADLINE_EXCEEDED, "the target did not answer before the dispatch deadline")

    @classmethod
    def none(cls, reason: str) -> "Answer":
        """Return the end of a dispatch that could not be made, or whose connection broke."""
        return cls(None, Code.UNAVAILABLE, reason)


def after(task: QueuedTask, answer: Answer, retry: RetryConfig, at: datetime) -> QueuedTask | None:
    """Return the task as it waits for its next dispatch, or None when it is done or given up.

    ``retry`` is the queue's; the task's own goes over it. ``at`` is when the dispatch ended.
    """
    own = (task.retry or RetryOverride()).over(retry)
    begun = task.first_dispatch or at
    if answer.code is Code.OK or backoff.is_spent(own, task.dispatch_count, at - begun) or at - task.create_time >= _RETENTION:
        return None
    return replace(
        task,
        schedule_time=at + backoff.wait_before(task.dispatch_count, own),
        response_count=task.response_count + (answer.status is not None),
        execution_count=task.execution_count + _is_execution(task, answer),
        previous_response=_previous_response(task, answer),
        last_attempt=_ended(task, answer, at),
    )


def lost(task: QueuedTask, at: datetime) -> QueuedTask:
    """Return a task whose dispatch was open when the queue stopped: due at once, that attempt counted as unanswered."""
    answer = Answer.none("the queue stopped while this dispatch was open")
    return replace(
        task,
        schedule_time=at,
        previous_response=_previous_response(task, answer),
        last_attempt=_ended(task, answer, at),
    )


def _is_execution(task: QueuedTask, answer: Answer) -> bool:
    if answer.status is None:
        return False
    return isinstance(task.target, AppEngineTarget) or answer.status < _FIRST_SERVER_ERROR


def _previous_response(task: QueuedTask, answer: Answer) -> int:
    if answer.status is not None:
        return answer.status
    return 0 if isinstance(task.target, AppEngineTarget) else answer.code.http_status


def _ended(task: QueuedTask, answer: Answer, at: datetime) -> Attempt | None:
    if task.last_attempt is None:
        return None
    answered_at = at if answer.status is not None else None
    return replace(task.last_attempt, response_time=answered_at, code=answer.code.number, message=answer.message)
