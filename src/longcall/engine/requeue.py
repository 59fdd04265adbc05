"""The ways back to work: after a purge of the queue, and after a process that had a store to itself."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from longcall.core import callback
from longcall.core.messages import CallbackMessage, message_name
from longcall.core.task import Kind, State, Task
from longcall.engine.control import Control
from longcall.engine.lease import alive
from longcall.engine.ports import Query, Store
from longcall.engine.settle import Settler

PAGE = 500


@dataclass(frozen=True, slots=True)
class Requeued:
    """What was queued again, or would be: ids of tasks that wait, that run without a live owner, and whose end was not told."""

    waiting: Sequence[str]
    running: Sequence[str]
    untold: Sequence[str]


@dataclass(frozen=True)
class Requeue:
    """Queues again whatever is overdue by five minutes: somebody purged a queue."""

    control: Control

    async def __call__(self, *, dry_run: bool) -> Requeued:
        """Queue it again, or with `dry_run` only say what. Raises UnavailableError."""
        return Requeued(await self._waiting(dry_run=dry_run), await self._running(dry_run=dry_run), await self._untold(dry_run=dry_run))

    async def _waiting(self, *, dry_run: bool) -> list[str]:
        overdue = [task for kind in Kind async for task in self._all(Query(kind=kind, overdue_at=self.control.clock.now(), limit=PAGE))]
        for task in [] if dry_run else overdue:
            await self.control.hasten(task.id)
        return [task.id for task in overdue]

    async def _running(self, *, dry_run: bool) -> list[str]:
        found: list[str] = []
        for task_id in await self.control.store.owned(""):
            stored = await self.control.store.get(task_id)
            if stored is None or stored.task.state is not State.RUNNING or alive(await self.control.store.runner(stored.task.owner or "")):
                continue
            if not dry_run:
                await self.control.look_after(stored.task)
            found.append(task_id)
        return found

    async def _untold(self, *, dry_run: bool) -> list[str]:
        ends = frozenset(state for state in State if state.ended)
        untold = [task async for task in self._all(Query(states=ends, limit=PAGE)) if await self._is_untold(task)]
        for task in [] if dry_run else untold:
            await self._queue_callback(task)
        return [task.id for task in untold]

    async def _is_untold(self, task: Task) -> bool:
        return callback.wanted(task) is not None and await self.control.store.get(callback.task_id(task.id, task.version)) is None

    async def _queue_callback(self, task: Task) -> None:
        owing, now = self.control.owing, self.control.clock.now()
        name = f"{message_name(task.id, task.create_time, task.version)}-{self.control.clock.new_hex(8)}-callback"
        await owing.queue.create(owing.control_queue, name, CallbackMessage(task.id, task.create_time, task.version, now), now)

    async def _all(self, query: Query) -> AsyncIterator[Task]:
        while True:
            page = await self.control.store.page(query)
            for task in page.tasks:
                yield task
            if not page.next_token:
                return
            query = replace(query, token=page.next_token)


async def take_over(store: Store, settler: Settler) -> int:
    """Settle every RUNNING task as lost: for a process that has a whole store to itself, before it serves. Returns how many."""
    return await settler.lose_all(await store.owned(""))
