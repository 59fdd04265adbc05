"""Cloud Tasks' verbs, in the model's words; both faces call them. Every refusal is a RefusedError."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from longcall.queue import checks, headers, names
from longcall.queue.dispatcher import Dispatcher
from longcall.queue.errors import ENTITY_MISSING, QUEUE_MISSING, invalid, missing
from longcall.queue.lane import Lane
from longcall.queue.model import Draft, Queue, QueueConfig, QueuedTask
from longcall.queue.roster import Roster
from longcall.queue.storage import Page, TaskStorage

MAX_TASKS_PAGE = 1000
MAX_QUEUES_PAGE = 9800


@dataclass(frozen=True, slots=True)
class QueuesPage:
    """Some queues in the order of their names; ``more`` says whether others follow."""

    queues: Sequence[Queue]
    more: bool


class QueueService:
    """The queues and their tasks. ``now`` and ``new_id`` (letters, digits, hyphens, underscores) come from outside."""

    def __init__(
        self,
        roster: Roster,
        storage: TaskStorage,
        dispatcher: Dispatcher,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._roster = roster
        self._storage = storage
        self._dispatcher = dispatcher
        self._now = now
        self._new_id = new_id
        self._lanes: dict[str, Lane] = {}

    def add(self, queue: Queue, waiting: Iterable[tuple[datetime, int]] = ()) -> None:
        """Serve a queue that is stored, with the tasks that wait in it."""
        lane = Lane(queue, waiting, _clock())
        self._lanes[queue.config.name] = lane
        self._dispatcher.attach(lane)

    async def create_queue(self, parent: str, config: QueueConfig) -> Queue:
        """Create a queue under the location ``parent``."""
        names.check_queue(config.name)
        if config.name.rpartition("/queues/")[0] != names.check_location(parent):
            raise invalid(f"The queue's name must be under the location from the request ({parent}).")
        checks.check_queue_config(config)
        return await self._roster.insert(config, self._now(), self.add)

    def get_queue(self, name: str) -> Queue:
        """Return a queue."""
        return self._lane(name).queue

    def list_queues(self, parent: str, after: str, size: int) -> QueuesPage:
        """Return the queues of a location whose names come after ``after``."""
        prefix = f"{names.check_location(parent)}/queues/"
        found = sorted(name for name in self._lanes if name.startswith(prefix) and name > after)
        size = _page_size(size, MAX_QUEUES_PAGE)
        return QueuesPage([self._lanes[name].queue for name in found[:size]], more=len(found) > size)

    async def update_queue(self, config: QueueConfig) -> Queue:
        """Give a queue another configuration, or make it."""
        checks.check_queue_config(config)
        if (lane := self._lanes.get(names.check_queue(config.name))) is None:
            return await self._roster.insert(config, self._now(), self.add)
        return await self._change(lane, replace(lane.queue, config=config))

    async def pause_queue(self, name: str, *, paused: bool) -> Queue:
        """Stop a queue's dispatches, or let them go on."""
        lane = self._lane(name)
        return await self._change(lane, replace(lane.queue, paused=paused))

    async def purge_queue(self, name: str) -> Queue:
        """Delete the tasks that were created until now."""
        lane, at = self._lane(name), self._now()
        queue = await self._change(lane, replace(lane.queue, purge_time=at))
        await self._empty(lane, at)
        return queue

    async def delete_queue(self, name: str) -> None:
        """Delete a queue and its tasks; what is being dispatched goes on."""
        lane = self._lanes.get(names.check_queue(name))
        if lane is None:
            raise missing(ENTITY_MISSING)
        await self._roster.delete(lane.queue, self._now(), lambda _: self._drop(name, lane))
        await self._empty(lane, self._now())

    async def create_task(self, parent: str, draft: Draft) -> QueuedTask:
        """Create a task; it is durable, and dispatched when its time comes."""
        lane, at = self._lane(parent), self._now()
        task_id = names.id_under(parent, draft.name) if draft.name else self._new_id()
        checks.check_draft(draft, at)
        kept = replace(draft, target=replace(draft.target, headers=headers.kept(draft.target)))
        return await self._storage.insert(lane.queue, kept, task_id, at, lambda task: lane.add(task.number, task.schedule_time))

    async def get_task(self, name: str) -> QueuedTask:
        """Return a task."""
        lane, task_id = self._task(name)
        return await self._storage.read(lane.queue, task_id, self._now())

    async def list_tasks(self, parent: str, after: str, size: int) -> Page:
        """Return tasks whose ids come after ``after``, in the order of their ids."""
        return await self._storage.page(self._lane(parent).queue, after, _page_size(size, MAX_TASKS_PAGE))

    async def delete_task(self, name: str) -> None:
        """Delete a task; if it is being dispatched, that goes on and its outcome is dropped."""
        lane, task_id = self._task(name)
        await self._storage.delete(lane.queue, task_id, self._now(), lane.remove)

    async def run_task(self, name: str) -> QueuedTask:
        """Dispatch a task now, whatever its time, the queue's limits and its pause; one being dispatched stays so."""
        lane, task_id = self._task(name)
        task = await self._storage.read(lane.queue, task_id, self._now())
        return await self._dispatcher.run_now(lane, task) or task

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            names.check_queue(name)
            raise missing(QUEUE_MISSING)
        return lane

    def _task(self, name: str) -> tuple[Lane, str]:
        queue, task_id = names.split_task(name)
        return self._lane(queue), task_id

    async def _change(self, lane: Lane, queue: Queue) -> Queue:
        await self._roster.update(queue, lambda _: lane.change(queue, _clock()))
        return queue

    def _drop(self, name: str, lane: Lane) -> None:
        self._lanes.pop(name, None)
        self._dispatcher.detach(lane)

    async def _empty(self, lane: Lane, before: datetime) -> None:
        while numbers := await self._storage.delete_some(lane.queue, before, self._now()):
            for number in numbers:
                lane.remove(number)


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _page_size(asked: int, most: int) -> int:
    if asked < 0:
        raise invalid("The page size must not be negative.")
    return min(asked or most, most)
