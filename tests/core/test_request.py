from datetime import timedelta

from longcall.core import lifecycle, request
from longcall.core.task import HttpRequest, TaskSpec
from tests.making import NOON, responded, running, spec

MINUTE = timedelta(minutes=1)


def test_an_attempt_gets_the_smaller_of_its_own_limit_and_what_is_left() -> None:
    """taskTimeout counts over all attempts together."""
    asked = spec(attempt_timeout=10 * MINUTE, task_timeout=15 * MINUTE)
    task = running(asked=asked)
    assert request.limits(task, asked, NOON).total == 10 * MINUTE
    late = request.limits(task, asked, NOON + 12 * MINUTE)
    assert (late.total, late.by_task) == (3 * MINUTE, True)
    assert request.limits(task, asked, NOON + 20 * MINUTE).total == timedelta()


def test_the_target_learns_who_calls_and_whether_it_may_have_been_called_before() -> None:
    """Every attempt says its number, the key that stays the same, the time it is given up, and what became of the one before."""
    asked = spec()
    again = lifecycle.take(lifecycle.settle(running(asked=asked), responded(503), NOON, 0), "r-2", NOON, "cd" * 8)
    sent = dict(request.headers(again, asked, NOON + MINUTE, "longcall/1"))
    assert sent == {
        "Idempotency-Key": '"train"',
        "User-Agent": "longcall/1",
        "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
        "Longcall-Task": "train",
        "Longcall-Attempt": "2",
        "Longcall-Max-Attempts": "5",
        "Longcall-Deadline": "2026-11-24T12:01:00.000000Z",
        "Longcall-Previous": "response",
        "X-CloudTasks-QueueName": "default",
        "X-CloudTasks-TaskName": "train",
        "X-CloudTasks-TaskRetryCount": "1",
        "X-CloudTasks-TaskExecutionCount": "0",
    }


def test_the_caller_s_own_headers_win() -> None:
    """A key or an agent that the caller gave is sent as given, and once."""
    asked = TaskSpec(HttpRequest("http://x/", headers={"idempotency-key": "mine", "user-agent": "me"}))
    sent = request.headers(running(asked=asked), asked, NOON, "longcall/1")
    assert [value for name, value in sent if name.lower() in {"idempotency-key", "user-agent"}] == ["mine", "me"]
