"""How the SDK talks to the API: generators that yield requests and are sent what came of them. Both clients drive the same ones.

No I/O and no clock here: every answer brings its own monotonic time.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from longcall.core.errors import LongcallError, NotFoundError, UnavailableError
from longcall.core.wire import Json
from longcall.sdk.errors import NotLongcallError, OutOfReachError, TaskCancelled, TaskFailed, WaitTimeout
from longcall.sdk.messages import (
    Answer,
    Broken,
    Filters,
    Request,
    body_request,
    create_request,
    duration_seconds,
    page_request,
    poll_request,
    read_request,
)
from longcall.sdk.options import Duration, Moment, TaskOptions
from longcall.sdk.problems import passes, problem, read_json, retry_after
from longcall.sdk.view import TaskView

TRIES = 3
NOT_FOUND = 404
FIRST_PAUSE, LAST_PAUSE, MAX_ASKED_PAUSE = 0.2, 5.0, 30.0  # seconds
LONGEST_POLL = 60.0  # seconds; what the API waits at most
FIRST_LOOK, LAST_LOOK = 0.2, 1.0  # seconds between looks for news: the API answers a wait only at the end

End = TypeVar("End")
View = TypeVar("View", bound=TaskView)
Talk = Generator[Request, Answer | Broken, End]
News = Callable[[View | UnavailableError], None]


def once(request: Request, base_url: str) -> Talk[Answer]:
    """Send a request that may be sent twice without harm, a few times if need be. Returns any answer but those that say "not now"."""
    heard = yield request
    arrived = isinstance(heard, Broken) and heard.sent
    for failures in range(1, TRIES):
        if not _is_trouble(heard):
            break
        heard = yield replace(request, after=pause(heard, failures))
        arrived = arrived or (isinstance(heard, Broken) and heard.sent)
    if isinstance(heard, Broken):
        raise _unanswered(heard, base_url, request, may_have_arrived=arrived)
    return heard


def ask(request: Request, base_url: str) -> Talk[Json]:
    """The same, for the answer's JSON. Raises the error that a problem stands for."""
    return read_json((yield from once(request, base_url)), base_url, request.task_id)


@dataclass(frozen=True)
class Talks(Generic[View]):
    """Everything a client can say to one server. `view` makes the client's own kind of task from its JSON."""

    base_url: str
    view: Callable[[Json], View]

    def submit(self, task_id: str, url: str, schedule_time: Moment | None, options: TaskOptions) -> Talk[View]:
        """Make a task, or find the same one."""
        return self._task(create_request(task_id, url, schedule_time, options))

    def get(self, task_id: str) -> Talk[View]:
        """Read a task."""
        return self._task(read_request(task_id))

    def wait(self, task_id: str, timeout: Duration | None, seen: View | None, on_news: News[View] | None) -> "Wait[View]":
        """Wait for a task; the wait begins with its `talk`."""
        return Wait(task_id, self.base_url, duration_seconds("timeout", timeout), self.read, seen, on_news)

    def page(self, filters: Filters, token: str) -> Talk[tuple[list[View], str]]:
        """One page of tasks, and the token of the next one; empty for the last."""
        data = yield from ask(page_request(filters, token), self.base_url)
        try:
            return [self.read(each) for each in data["tasks"]], data["nextPageToken"]
        except (KeyError, TypeError):
            raise NotLongcallError(f"what answers at {self.base_url} is not Longcall's API: its list is no list of tasks") from None

    def body(self, task_id: str) -> Talk[bytes]:
        """The body of a task's last response."""
        answer = yield from once(body_request(task_id), self.base_url)
        if answer.status != 200:  # noqa: PLR2004 — HTTP's own number
            raise problem(answer, self.base_url, task_id)
        return answer.body

    def read(self, data: Json) -> View:
        """Make a task of its JSON. Raises NotLongcallError when it is none."""
        try:
            return self.view(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            said = f"what answers at {self.base_url} is not Longcall's API: its task can't be read ({type(error).__name__}: {error})"
            raise NotLongcallError(said) from None

    def _task(self, request: Request) -> Talk[View]:
        return self.read((yield from ask(request, self.base_url)))


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


def pause(heard: Answer | Broken, failures: int) -> float:
    """Seconds before the next try: 0.2, doubled up to 5, or what Retry-After asks for, up to 30."""
    asked = retry_after(heard) if isinstance(heard, Answer) else 0.0
    return max(min(asked, MAX_ASKED_PAUSE), min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)))


def trouble_of(heard: Answer | Broken, base_url: str, request: Request) -> LongcallError:
    """The error that a bad answer, or none, stands for."""
    if isinstance(heard, Broken):
        return _unanswered(heard, base_url, request, may_have_arrived=heard.sent)
    return problem(heard, base_url, request.task_id)


def _is_trouble(heard: Answer | Broken) -> bool:
    return isinstance(heard, Broken) or passes(heard)


def _unanswered(heard: Broken, base_url: str, request: Request, *, may_have_arrived: bool) -> OutOfReachError:
    created = request.method == "POST" and may_have_arrived
    return OutOfReachError(base_url, heard.why, sent=heard.sent, may_exist=request.task_id if created else None)
