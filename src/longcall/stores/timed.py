"""A store whose every operation is timed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from longcall.core.task import Task
from longcall.engine import observe
from longcall.engine.ports import Counts, Page, Query, Runner, Store, Stored

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class TimedStore:
    """Says of each operation of another store how long it took, also where it failed; but for `changed`, which is there to wait."""

    store: Store
    seconds: Callable[[], float]

    async def _timed(self, operation: str, work: Awaitable[Answer]) -> Answer:
        start = self.seconds()
        try:
            return await work
        finally:
            observe.store_answered(operation, self.seconds() - start)

    async def insert(self, task: Task) -> bool:
        """Write a new record. False when the id is taken."""
        return await self._timed("insert", self.store.insert(task))

    async def get(self, task_id: str) -> Stored | None:
        """Read one record."""
        return await self._timed("get", self.store.get(task_id))

    async def replace(self, task: Task, tag: object) -> object:
        """Write the record's next version if it still is as it was read under this tag: its new tag, or None when it is not."""
        return await self._timed("replace", self.store.replace(task, tag))

    async def delete(self, task: Task, tag: object) -> bool:
        """Forget the record if it still is as it was read under this tag. False when it is not."""
        return await self._timed("delete", self.store.delete(task, tag))

    async def page(self, query: Query) -> Page:
        """List records, newest first."""
        return await self._timed("page", self.store.page(query))

    async def counts(self, now: datetime) -> Counts:
        """Count records of kind `call`."""
        return await self._timed("counts", self.store.counts(now))

    async def owned(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner; of every runner for an empty name."""
        return await self._timed("owned", self.store.owned(owner))

    async def cancelled(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner whose cancel was asked for."""
        return await self._timed("cancelled", self.store.cancelled(owner))

    async def beat(self, runner: Runner) -> None:
        """Write a runner's sign of life."""
        await self._timed("beat", self.store.beat(runner))

    async def runner(self, name: str) -> Runner | None:
        """Read a runner's sign of life."""
        return await self._timed("runner", self.store.runner(name))

    async def runners(self) -> Sequence[Runner]:
        """List all runners known."""
        return await self._timed("runners", self.store.runners())

    async def purge(self, before: datetime, limit: int) -> Sequence[Task]:
        """Forget tasks that ended before then, and return them."""
        return await self._timed("purge", self.store.purge(before, limit))

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait for a version above `after`."""
        return await self.store.changed(task_id, after, patience)

    async def ping(self) -> None:
        """Raise UnavailableError when out of reach."""
        await self._timed("ping", self.store.ping())
