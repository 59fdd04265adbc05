"""Reading tasks and waiting for them, and taking over what an earlier process of this data folder left."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from longcall.core.errors import NotFoundError
from longcall.core.task import State, Task
from longcall.engine.ports import Bodies, Clock, Counts, Page, Query, Store
from longcall.engine.settle import Settler


@dataclass(frozen=True)
class Control:
    """What can be asked about tasks."""

    store: Store
    bodies: Bodies
    clock: Clock

    async def read(self, task_id: str, patience: float = 0) -> Task:
        """The task; with `patience` (seconds) once it has ended or the time is up, also for an id not seen yet. Raises NotFoundError."""
        stored = await self.store.get(task_id)
        until = self.clock.monotonic() + patience
        while (stored is None or not stored.task.state.ended) and (left := until - self.clock.monotonic()) > 0:
            stored = await self.store.changed(task_id, stored.task.version if stored else 0, left)
        if stored is None:
            raise NotFoundError(f"there is no task {task_id}")
        return stored.task

    async def page(self, query: Query) -> Page:
        """List tasks."""
        return await self.store.page(query)

    async def counts(self) -> Counts:
        """Count tasks."""
        return await self.store.counts(self.clock.now())

    async def body(self, task_id: str) -> tuple[Task, AsyncIterator[bytes]]:
        """The body of the last response. Raises NotFoundError when there is no task, or no response yet."""
        task = await self.read(task_id)
        if task.response is None:
            raise NotFoundError(f"task {task_id} has no response")
        if task.response.location is not None:
            return task, self.bodies.open(task.response.location)
        return task, _whole(task.response.inline or b"")


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def take_over(store: Store, settler: Settler) -> int:
    """Settle every RUNNING task as lost: for a process that has a whole store to itself, before it serves. Returns how many."""
    count = 0
    for task_id in await store.owned(""):
        stored = await store.get(task_id)
        if stored is not None and stored.task.state is State.RUNNING:
            await settler.lose(stored.task)
            count += 1
    return count
