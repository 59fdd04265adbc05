"""What can be asked of tasks: reading, waiting, cancelling, running again, forgetting. The API never counts on a message's name."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from longcall.core import callback, lifecycle
from longcall.core.errors import FailedPreconditionError, NotFoundError, UnavailableError, UnclearError
from longcall.core.messages import TaskMessage, message_name
from longcall.core.task import Kind, State, StoredBody, Task, Unreadable
from longcall.engine import observe
from longcall.engine.admit import Admission
from longcall.engine.calls import body_key, body_keys
from longcall.engine.chunks import begun, whole
from longcall.engine.lease import alive
from longcall.engine.owing import Owing
from longcall.engine.ports import Bodies, Clock, Counts, Page, Query, Store, Stored

LINK_LIFE = 300  # seconds in which a download by link has to begin
Change = Callable[[Task, datetime], Task | None]


@dataclass(frozen=True)
class Control:
    """The API's side of the engine. It has no lease, so it declares nobody lost."""

    store: Store
    bodies: Bodies
    clock: Clock
    owing: Owing
    admission: Admission
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, task_id: str, patience: float = 0) -> Task:
        """The task; with `patience` (seconds) once it has ended or the time is up, also for an id not seen yet. Raises NotFoundError."""
        stored = await self.store.get(task_id)
        until = self.clock.monotonic() + patience
        while (
            (stored is None or not stored.task.state.ended) and (left := until - self.clock.monotonic()) > 0 and not self.closing.is_set()
        ):
            stored = await self.changed(task_id, stored, left)
        if stored is None:
            raise NotFoundError(f"there is no task {task_id}")
        return stored.task

    async def changed(self, task_id: str, known: Stored | None, patience: float) -> Stored | None:
        """What is there after the next change; what was known when this process is to stop, so that nobody's wait keeps it."""
        change = asyncio.create_task(self.store.changed(task_id, known.task.version if known else 0, patience))
        closed = asyncio.create_task(self.closing.wait())
        try:
            await asyncio.wait({change, closed}, return_when=asyncio.FIRST_COMPLETED)
            return change.result() if change.done() else known
        finally:
            change.cancel()
            closed.cancel()

    async def callbacks(self, task: Task) -> list[Task]:
        """The callback tasks of a task, oldest first."""
        if isinstance(task.spec, Unreadable) or task.spec.callback is None:
            return []
        page = await self.store.page(Query(kind=Kind.CALLBACK, label=(callback.PARENT, task.id), limit=500))
        return list(reversed(page.tasks))

    async def page(self, query: Query) -> Page:
        """List tasks."""
        return await self.store.page(query)

    async def counts(self) -> Counts:
        """Count tasks."""
        return await self.store.counts(self.clock.now())

    async def body(self, task_id: str) -> tuple[Task, AsyncIterator[bytes] | str]:
        """The body of the last response, or a URL by which it can be read for LINK_LIFE. Raises NotFoundError when there is none yet."""
        task = await self.read(task_id)
        if task.response is None:
            raise NotFoundError(f"task {task_id} has no response")
        location = task.response.location
        if location is None:
            return task, whole(task.response.inline or b"")
        # A body that was packed by its target needs the header that says so, and whoever answers a link does not know it.
        packed = "content-encoding" in task.response.headers
        if not packed and (url := await self.bodies.link(location, LINK_LIFE)) is not None:
            return task, url
        return task, await begun(self.bodies.open(location))

    async def request_body(self, task_id: str) -> tuple[Task, AsyncIterator[bytes]]:
        """The body that the target is sent. Raises NotFoundError, also for what was no valid task: it has none."""
        task = await self.read(task_id)
        if isinstance(task.spec, Unreadable):
            raise NotFoundError(f"task {task_id} has no request: what came was no valid task")
        if isinstance(task.spec.request.body, StoredBody):
            return task, await begun(self.bodies.open(body_key(task)))
        return task, whole(task.spec.request.body)

    async def cancel(self, task_id: str) -> Task:
        """End a task that waits; ask the owner of a running one to close its call. Raises NotFoundError, FailedPreconditionError."""
        task = await self._change(task_id, _cancelled)
        observe.cancel_requested(task)
        return task

    async def retry(self, task_id: str) -> Task:
        """Run an ended task again, a waiting one now, have a running one looked after. Raises NotFoundError, FailedPreconditionError."""
        task = await self._change(task_id, _retried)
        if task.state is State.RUNNING:
            await self.look_after(task)
        observe.task_retried(task)
        return task

    async def hasten(self, task_id: str) -> None:
        """Queue a task again that is overdue; whatever else became of it meanwhile stays."""
        with suppress(NotFoundError):
            await self._change(task_id, _hastened)

    async def look_after(self, task: Task) -> bool:
        """Have a RUNNING task without a live owner looked at by a runner, which may settle it. Raises UnavailableError."""
        if alive(await self.store.runner(task.owner or "")):
            return False
        now = self.clock.now()
        name = f"{message_name(task.id, task.create_time, task.version)}-{self.clock.new_hex(8)}"
        message = TaskMessage(task.id, task.create_time, task.version, now)
        await self.owing.queue.create(self.owing.queue_of(task), name, message, now)
        return True

    async def forget(self, task_id: str) -> None:
        """Delete an ended task and its bodies. Raises NotFoundError, FailedPreconditionError."""
        stored = await self.store.get(task_id)
        if stored is None:
            raise NotFoundError(f"there is no task {task_id}")
        task = stored.task
        if not task.state.ended:
            raise FailedPreconditionError(f"task {task_id} is {task.state}: only what has ended can be forgotten; cancel it first")
        if not isinstance(task.spec, Unreadable) and (task.spec.schedule_time or task.create_time) > self.clock.now():
            raise FailedPreconditionError(f"the first message of task {task_id} is in the queue until its scheduleTime: forget it then")
        told = await self.callbacks(task)
        await self.admission.tell(task)
        if not await self.store.delete(task, stored.tag):
            raise FailedPreconditionError(f"task {task_id} was changed just now: look at it again")
        for key in body_keys(task):
            await self._forget_body(key)
        for each in told:
            await self._forget_callback(each.id)
        observe.task_forgotten(task)

    async def _forget_body(self, key: str) -> None:
        """The record is gone already, so a body store that is away is no reason to say that it was not forgotten."""
        try:
            await self.bodies.delete(key)
        except UnavailableError as error:
            observe.out_of_reach("bodies", error)

    async def _forget_callback(self, task_id: str) -> None:
        """A callback that has ended goes with its task, so that its id is free; one under way still tells."""
        stored = await self.store.get(task_id)
        if stored is not None and stored.task.state.ended:
            await self.store.delete(stored.task, stored.tag)

    async def _change(self, task_id: str, change: Change) -> Task:
        """Queue first, then write; read again when another version got in between, or when the answer was lost."""
        while (stored := await self.store.get(task_id)) is not None:
            after = change(stored.task, self.clock.now())
            if after is None:
                return stored.task
            if stored.task.state.ended:  # the callback this end still owes: the next version can't say so any more
                await self.admission.tell(stored.task)
            await self.owing.queue_for(after, f"-{self.clock.new_hex(8)}")
            try:
                if await self.store.replace(after, stored.tag):
                    return after
            except UnclearError as error:
                observe.out_of_reach("store", error)
        raise NotFoundError(f"there is no task {task_id}")


def _cancelled(task: Task, now: datetime) -> Task | None:
    if task.state is State.CANCELLED or task.cancel_request_time is not None:
        return None
    if task.state.ended:
        raise FailedPreconditionError(f"task {task.id} has {task.state}, so there is nothing to cancel")
    return lifecycle.cancel(task, now)


def _hastened(task: Task, now: datetime) -> Task | None:
    overdue = task.next_attempt_time is not None and task.next_attempt_time < now
    return lifecycle.retry(task, now) if overdue else None


def _retried(task: Task, now: datetime) -> Task | None:
    if task.state is State.RUNNING:
        return None
    if task.state is State.SUCCEEDED or isinstance(task.spec, Unreadable):
        raise FailedPreconditionError(f"task {task.id} has {task.state}: it can't be run again; create another one")
    return lifecycle.retry(task, now)
