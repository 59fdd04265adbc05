"""The client for programs without asyncio. What is no I/O is in messages.py, tries.py, waiting.py and talk.py, which both clients share."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from longcall.core.errors import LongcallError
from longcall.core.wire import Json
from longcall.sdk.listening import Away, Listening
from longcall.sdk.many import AT_ONCE, Many, Progress
from longcall.sdk.messages import Answer, Broken, Filters, Request, Watched, body_request
from longcall.sdk.options import Duration, Moment, NewTask, TaskOptions
from longcall.sdk.server import Server, answer_of, broken_of, new_id
from longcall.sdk.talk import Talks
from longcall.sdk.tries import Talk, trouble_of
from longcall.sdk.view import Requeued, Response, TaskView, response_fields, view_fields
from longcall.sdk.waiting import News

End = TypeVar("End")


@dataclass(frozen=True)
class Task(TaskView):
    """A task as it was when it was read; `refresh` reads it again. `response` is the target's last complete one."""

    client: "Longcall" = field(repr=False, compare=False)

    def wait(self, timeout: Duration | None = None, on_news: "News[Task] | None" = None) -> "Task":
        """As `Longcall.wait`; the server may be away for any time meanwhile, since this task is known to exist."""
        return self.client._wait(self.id, timeout, on_news, self)  # noqa: SLF001 — a task and its client are one thing in two parts

    def events(self, on_away: Away | None = None) -> "Iterator[Task]":
        """As `Longcall.events`."""
        return self.client.events(self.id, on_away)

    def refresh(self) -> "Task":
        """Read the task again."""
        return self.client.get(self.id)

    def cancel(self) -> "Task":
        """As `Longcall.cancel`."""
        return self.client.cancel(self.id)

    def retry(self) -> "Task":
        """As `Longcall.retry`."""
        return self.client.retry(self.id)


class Longcall:
    """A client of one Longcall server, for any number of threads.

    `base_url` is LONGCALL_URL when not given, else http://127.0.0.1:8080; `token` is LONGCALL_TOKEN when not given. What goes wrong
    is a LongcallError: InvalidArgumentError with its `errors`, NotFoundError, AlreadyExistsError, FailedPreconditionError,
    UnauthenticatedError, PermissionDeniedError, UnavailableError (OutOfReachError when nothing answers); these two after a few tries.
    """

    def __init__(self, base_url: str | None = None, token: str | None = None) -> None:
        self.server: Server = Server.of(base_url, token)
        self._http = httpx2.Client(**self.server.client_options())
        self._talks = Talks(self.server.base_url, self._view)

    def submit(
        self,
        url: str,
        *,
        id: str | None = None,  # noqa: A002 — the API's own word
        schedule_time: Moment | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Ask for one HTTP call, and return its task at once; `TaskOptions` says what else can be given.

        The id is made here when none is given, so a create whose answer got lost is sent again without harm. The same id with the
        same content is the same task; with other content it raises AlreadyExistsError.
        """
        return self._drive(self._talks.submit(id or new_id(), url, schedule_time, options))

    def submit_many(self, requests: Iterable[NewTask], *, at_once: int = AT_ONCE, progress: Progress | None = None) -> tuple[Task, ...]:
        """Ask for many calls, `at_once` at a time, each as `submit` does: `submit_many([{"url": …, "json": …}, …])`. Returns them in order.

        What can't be written down is an InvalidArgumentError before anything is sent. Raises NotAllSubmittedError at the end, with
        those that were submitted and those that were not. `progress` is called with how many are done, and of how many.
        """
        many = Many(requests, at_once, self._talks)
        total, done = len(many.requests), 0
        with ThreadPoolExecutor(min(at_once, total) or 1, "longcall-submit") as threads:
            try:
                for sent in as_completed([threads.submit(self._send_one, many) for _ in range(total)]):
                    done += sent.result()
                    if progress and sent.result():
                        progress(done, total)
            except BaseException:
                many.stop()
                raise
        return many.tasks()

    def get(self, id: str) -> Task:  # noqa: A002 — the API's own word
        """Read a task. Raises NotFoundError."""
        return self._drive(self._talks.get(id))

    def wait(
        self,
        id: str,  # noqa: A002 — the API's own word
        timeout: Duration | None = None,
        on_news: News[Task] | None = None,
    ) -> Task:
        """Wait until the task has ended and return it, SUCCEEDED; broken connections and restarts of the server are waited through.

        Raises TaskFailed, TaskCancelled, WaitTimeout when `timeout` is over (the task goes on), NotFoundError when the id is not seen
        within a minute, OutOfReachError when the server was never reached. `on_news` is called with the task at the first look and at
        each change, and with an UnavailableError each time that the server does not answer.
        """
        return self._wait(id, timeout, on_news, None)

    def events(self, id: str, on_away: Away | None = None) -> Iterator[Task]:  # noqa: A002 — the API's own word
        """Watch a task: as it is now, and at each change, up to its end; whichever end it is, it comes as the last one and is not raised.

        Broken connections and restarts of the server are lived through, and `on_away` is called with an UnavailableError each time.
        Versions in between may be skipped; `attempts` has the history. Raises NotFoundError when the id is not seen within a minute, or
        when the task is forgotten meanwhile, and OutOfReachError when the server was never reached.
        """
        return self._listen(self._talks.events(id, on_away))

    def changes(self, on_away: Away | None = None, **filters: Unpack[Watched]) -> Iterator[Task]:
        """Watch all tasks: those that have not ended, then each that changes, without their attempts, for as long as it is iterated.

        A task that leaves the filter is not told of any more. Of each task the newest version is told, within about two seconds. As
        `events`, it lives through broken connections and restarts.
        """
        return self._listen(self._talks.changes(filters, on_away))

    def list(self, **filters: Unpack[Filters]) -> Iterator[Task]:
        """List tasks, newest first, without their attempts; pages are fetched as they are needed. `Filters` says which can be had."""
        tasks, token = self._drive(self._talks.page(filters, ""))
        yield from tasks
        while token:
            tasks, token = self._drive(self._talks.page(filters, token))
            yield from tasks

    def cancel(self, id: str) -> Task:  # noqa: A002 — the API's own word
        """Cancel a task, and return it: CANCELLED, or RUNNING still, to be closed by its runner within two seconds.

        The target may go on working, and an answer that comes before then still counts. Raises NotFoundError, and
        FailedPreconditionError for what SUCCEEDED or FAILED.
        """
        return self._drive(self._talks.cancel(id))

    def retry(self, id: str) -> Task:  # noqa: A002 — the API's own word
        """Run a failed or cancelled task again, with a fresh budget and its history kept; one that waits runs now.

        Nothing happens to one that runs. Raises NotFoundError, and FailedPreconditionError for what SUCCEEDED.
        """
        return self._drive(self._talks.retry(id))

    def forget(self, id: str) -> None:  # noqa: A002 — the API's own word
        """Delete an ended task and its bodies. Raises NotFoundError, and FailedPreconditionError for what has not ended."""
        self._drive(self._talks.forget(id))

    def requeue(self, *, dry_run: bool = False) -> Requeued:
        """Queue again whatever is overdue by five minutes, after somebody purged the queue; with `dry_run` only say what."""
        return self._drive(self._talks.requeue(dry_run=dry_run))

    def response(self, id: str) -> bytes:  # noqa: A002 — the API's own word
        """The whole body of the target's last response, as it came. Raises NotFoundError when there is no task, or no response yet."""
        return self._drive(self._talks.body(id))

    @contextmanager
    def stream(self, id: str) -> Iterator[Iterator[bytes]]:  # noqa: A002 — the API's own word
        """The same in chunks: `with client.stream(id) as chunks:`. A connection that breaks is not mended."""
        request = body_request(id)
        try:
            with self._http.stream(**self.server.request_options(request)) as answer:
                if not answer.is_success:
                    raise trouble_of(answer_of(answer, answer.read(), 0), self.server.base_url, request)
                yield answer.iter_raw()
        except httpx2.RequestError as error:
            raise trouble_of(broken_of(error, 0), self.server.base_url, request) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _wait(self, task_id: str, timeout: Duration | None, on_news: News[Task] | None, seen: Task | None) -> Task:
        return self._drive(self._talks.wait(task_id, timeout, seen, on_news).talk(time.monotonic()))

    def _view(self, data: Json) -> Task:
        found = data.get("response")
        response = Response(**response_fields(found), fetch=lambda: self.response(data["id"])) if found else None
        return Task(**view_fields(data), received=response, client=self)

    def _drive(self, talk: Talk[End]) -> End:
        try:
            request = next(talk)
            while True:
                request = talk.send(self._send(request))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # a generator's return value comes as Any

    def _send_one(self, many: Many[Task]) -> bool:
        sending = many.take()
        if sending is None:
            return False
        try:
            many.came(sending, self._drive(sending.talk))
        except LongcallError as error:
            many.failed(sending, error)
        return True

    def _listen(self, listening: Listening[Task]) -> Iterator[Task]:
        while listening.goes_on():
            request = listening.request()
            time.sleep(request.after)
            try:
                with self._http.stream(**self.server.request_options(request)) as answer:
                    if not listening.opens(answer.status_code, answer.headers.get("content-type", "")):
                        listening.answered(answer_of(answer, answer.read(), time.monotonic()))
                        continue
                    for chunk in answer.iter_raw():
                        yield from listening.hear(chunk)
                        if not listening.goes_on():
                            return
                    listening.ended()
            except httpx2.RequestError as error:
                listening.answered(broken_of(error, time.monotonic()))

    def _send(self, request: Request) -> Answer | Broken:
        time.sleep(request.after)
        try:
            with self._http.stream(**self.server.request_options(request)) as answer:
                body = b"".join(answer.iter_raw()) if request.as_it_is else answer.read()
                return answer_of(answer, body, time.monotonic())
        except httpx2.RequestError as error:
            return broken_of(error, time.monotonic())
