"""Waiting for one task, through whatever happens to the server meanwhile. No I/O and no clock here, as in tries.py."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from longcall.core.errors import LongcallError, NotFoundError, UnavailableError
from longcall.core.wire import Json
from longcall.sdk.errors import TaskCancelled, TaskFailed, WaitTimeout
from longcall.sdk.messages import Answer, Broken, poll_request
from longcall.sdk.problems import passes, problem, read_json
from longcall.sdk.tries import NOT_FOUND, TRIES, Talk, pause, trouble_of
from longcall.sdk.view import TaskView

LONGEST_POLL = 60.0  # seconds; what the API waits at most
FIRST_LOOK, LAST_LOOK = 0.2, 1.0  # seconds between looks for news: the API answers a wait only at the end

View = TypeVar("View", bound=TaskView)
News = Callable[[View | UnavailableError], None]


@dataclass(frozen=True)
class Wait(Generic[View]):
    """Waiting for one task. `limit` in seconds, None for none. `seen` is the task if it is known to exist.

    What is known to exist is waited for through any trouble; otherwise the first contact is tried a few times only.
    """

    task_id: str
    base_url: str
    limit: float | None
    read: Callable[[Json], View]
    seen: View | None = None
    on_news: News[View] | None = None

    def talk(self, began: float) -> Talk[View]:
        """Poll until the task has SUCCEEDED. Raises TaskFailed, TaskCancelled, WaitTimeout, or what is wrong with the request."""
        until = began + (math.inf if self.limit is None else self.limit)
        seen, failures, after, left, same = self.seen, 0, 0.0, until - began, 0
        while True:
            heard = yield replace(poll_request(self.task_id, min(left - after, self._longest(same))), after=after)
            left = max(0.0, until - heard.at)
            found = self._found(heard, may_come=seen is None and left > 0 and heard.at < began + LONGEST_POLL)
            if isinstance(found, LongcallError):
                failures += 1
                self._bear(found, failures, seen, left)
                after = min(left, pause(heard, failures))
                continue
            same = same + 1 if seen and seen.version == found.version else 0
            self._tell(seen, found)
            seen, failures, after = found, 0, 0.0
            if seen.ended:
                return settled(seen)
            if left == 0:
                raise WaitTimeout(seen)

    def _longest(self, same: int) -> float:
        """Who is told of news looks often after a change, and less so while nothing changes."""
        return min(LAST_LOOK, FIRST_LOOK * 2.0 ** min(same, 10)) if self.on_news else LONGEST_POLL

    def _found(self, heard: Answer | Broken, *, may_come: bool) -> View | LongcallError:
        """The task, or a trouble that can be waited through: one is also a task put by hand that has no record yet."""
        if isinstance(heard, Broken) or passes(heard):
            return trouble_of(heard, self.base_url, poll_request(self.task_id, 0))
        if heard.status == NOT_FOUND and may_come:
            error = problem(heard, self.base_url, self.task_id)
            if isinstance(error, NotFoundError):
                return error
        return self.read(read_json(heard, self.base_url, self.task_id))

    def _bear(self, trouble: LongcallError, failures: int, seen: View | None, left: float) -> None:
        if seen is not None and left == 0:
            raise WaitTimeout(seen) from trouble
        if not isinstance(trouble, UnavailableError):
            return
        if seen is None and (failures >= TRIES or left == 0):
            raise trouble
        if self.on_news:
            self.on_news(trouble)

    def _tell(self, before: View | None, task: View) -> None:
        if self.on_news and (before is None or before is self.seen or before.version != task.version):
            self.on_news(task)


def settled(task: View) -> View:
    """An ended task that SUCCEEDED; raises TaskFailed or TaskCancelled for the others."""
    match task.state:
        case "FAILED":
            raise TaskFailed(task)
        case "CANCELLED":
            raise TaskCancelled(task)
        case _:
            return task
