"""Everything that the SDK can say to the API, as generators of requests. Both clients drive the same ones. No I/O, as in tries.py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from longcall.core.errors import NotFoundError
from longcall.core.wire import Json
from longcall.sdk.errors import NotLongcallError
from longcall.sdk.listening import Away, Listening
from longcall.sdk.messages import (
    Filters,
    Request,
    Watched,
    body_request,
    cancel_request,
    changes_request,
    create_request,
    duration_seconds,
    events_request,
    forget_request,
    page_request,
    read_request,
    requeue_request,
    retry_request,
)
from longcall.sdk.options import Duration, Moment, TaskOptions
from longcall.sdk.problems import problem
from longcall.sdk.tries import Talk, ask, once, tried
from longcall.sdk.view import Requeued, requeued
from longcall.sdk.waiting import News, View, Wait

OK, NO_CONTENT = 200, 204


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

    def cancel(self, task_id: str) -> Talk[View]:
        """Cancel a task."""
        # A cancel whose answer got lost is asked for again: what is cancelled, or asked to be, answers 200 once more.
        return self._task(cancel_request(task_id))

    def retry(self, task_id: str) -> Talk[View]:
        """Run a task again, or now."""
        # As with cancel: a task that is due, or runs, is only made due again. At worst one that has failed anew within
        # the seconds between two tries, none of them answered, runs once more.
        return self._task(retry_request(task_id))

    def forget(self, task_id: str) -> Talk[None]:
        """Delete an ended task."""
        answer, arrived = yield from tried(forget_request(task_id), self.base_url)
        if answer.status == NO_CONTENT:
            return
        error = problem(answer, self.base_url, task_id)
        # What an earlier try, whose answer got lost, has deleted is not there any more: that is what was asked for.
        if not (arrived and isinstance(error, NotFoundError)):
            raise error

    def requeue(self, *, dry_run: bool) -> Talk[Requeued]:
        """Queue again whatever is overdue."""
        # Asked again after a lost answer, it queues what is still overdue, and names only that; a message too many does no harm.
        data = yield from ask(requeue_request(dry_run=dry_run), self.base_url)
        try:
            return requeued(data)
        except (KeyError, TypeError):
            raise NotLongcallError(f"what answers at {self.base_url} is not Longcall's API: it does not say what it queued") from None

    def wait(self, task_id: str, timeout: Duration | None, seen: View | None, on_news: News[View] | None) -> "Wait[View]":
        """Wait for a task; the wait begins with its `talk`."""
        return Wait(task_id, self.base_url, duration_seconds("timeout", timeout), self.read, seen, on_news)

    def events(self, task_id: str, on_away: Away | None) -> "Listening[View]":
        """Watch a task."""
        return Listening(events_request(task_id), self.base_url, self.read, single=True, on_away=on_away)

    def changes(self, filters: Watched, on_away: Away | None) -> "Listening[View]":
        """Watch all tasks."""
        return Listening(changes_request(filters), self.base_url, self.read, single=False, on_away=on_away)

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
        if answer.status != OK:
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
