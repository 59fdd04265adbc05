"""Cloud Tasks' verbs, in the model's words; both faces call them. Every refusal is a RefusedError."""

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from longcall.queue import checks, headers, names
from longcall.queue.dispatcher import Dispatcher
from longcall.queue.errors import ENTITY_MISSING, QUEUE_MISSING, RefusedError, invalid, missing
from longcall.queue.lane import Lane
from longcall.queue.model import Draft, Queue, QueueConfig, QueuedTask
from longcall.queue.roster import Roster
from longcall.queue.storage import Page, TaskStorage

MAX_TASKS_PAGE = 1000
MAX_QUEUES_PAGE = 9800
_EVERY = 2**63 - 1


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
        self._removing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop removing; the next start goes on with it."""
        for removing in self._removing:
            removing.cancel()
        await asyncio.gather(*self._removing, return_exceptions=True)

    def add(self, queue: Queue, waiting: Iterable[tuple[datetime, int]] = ()) -> None:
        """Serve a queue that is stored, with the tasks that wait in it."""
        lane = Lane(queue, waiting, _clock())
        self._lanes[queue.config.name] = lane
        self._dispatcher.attach(lane)

    async def create_queue(self, parent: str, config: QueueConfig) -> Queue:
        """Create a queue under the location ``parent``."""
        names.check_queue(config.name)
        if config.name.rpartition("/queues/")[0] != names.check_location(parent):
            raise invalid(f"{config.name} must begin with {parent}.")
        return await self._roster.insert(_checked(config, None), self._now(), self.add)

    def get_queue(self, name: str) -> Queue:
        """Return a queue."""
        return self._lane(name).queue

    def list_queues(self, parent: str, after: str, size: int) -> QueuesPage:
        """Return the queues of a location whose names come after ``after``."""
        prefix = f"{names.check_location(parent)}/queues/"
        found = sorted(name for name in self._lanes if name.startswith(prefix) and name > after)
        size = _page_size(size, MAX_QUEUES_PAGE)
        return QueuesPage([self._lanes[name].queue for name in found[:size]], more=len(found) > size)

    async def update_queue(self, name: str, config: Callable[[Queue | None], QueueConfig]) -> Queue:
        """Give a queue the configuration that ``config`` makes of it, or make it; ``config`` may refuse."""
        if (lane := self._lanes.get(names.check_queue(name))) is None:
            return await self._roster.insert(_checked(config(None), None), self._now(), self.add)
        return await self._change(lane, lambda queue: replace(queue, config=_checked(config(queue), queue)))

    async def pause_queue(self, name: str, *, paused: bool) -> Queue:
        """Stop a queue's dispatches, or let them go on; those under way are not touched."""
        return await self._change(self._lane(name), lambda queue: replace(queue, paused=paused))

    async def purge_queue(self, name: str) -> Queue:
        """Delete the tasks that were created until now: none of them is seen or dispatched again, though removing them takes a while."""
        lane = self._lane(name)
        queue = await self._roster.purge(lane.queue, self._now(), lambda queue: lane.change(queue, _clock()))
        self._remove(lane, queue.purged)
        return queue

    async def delete_queue(self, name: str) -> None:
        """Delete a queue and its tasks; what is being dispatched goes on."""
        lane = self._lanes.get(names.check_queue(name))
        if lane is None:
            raise missing(ENTITY_MISSING)
        await self._roster.delete(lane.queue, self._now(), lambda _: self._drop(name, lane))
        self._remove(lane, _EVERY)

    async def get_policy(self, name: str) -> bytes | None:
        """Return the policy that a queue was given, None if none."""
        return await self._roster.policy(self._lane(name).queue)

    async def set_policy(self, name: str, change: Callable[[bytes | None], bytes]) -> bytes | None:
        """Give a queue the policy that ``change`` makes of the present one, and return it; ``change`` may refuse."""
        return await self._roster.policy(self._lane(name).queue, change)

    def has_queue(self, name: str) -> bool:
        """Say whether a queue exists."""
        return names.check_queue(name) in self._lanes

    def list_locations(self, project: str) -> Sequence[str]:
        """Return the locations of a project that have queues; others can be used as well."""
        prefix = f"{names.check_project(project)}/"
        return sorted({name.partition("/queues/")[0] for name in self._lanes if name.startswith(prefix)})

    async def create_task(self, parent: str, draft: Draft) -> QueuedTask:
        """Create a task; it is durable, and dispatched when its time comes."""
        lane, at = self._lane(parent), self._now()
        task_id = names.id_under(parent, draft.name) if draft.name else self._new_id()
        checks.check_draft(draft, lane.queue.config.retry, at)
        kept = replace(
            draft,
            target=replace(draft.target, headers=headers.kept(draft.target)),
            schedule_time=max(draft.schedule_time or at, at),  # the past is now
        )
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

    def _change(self, lane: Lane, change: Callable[[Queue], Queue]) -> Future[Queue]:
        return self._roster.change(lane.queue, change, lambda queue: lane.change(queue, _clock()))

    def _drop(self, name: str, lane: Lane) -> None:
        self._lanes.pop(name, None)
        self._dispatcher.detach(lane)

    def _remove(self, lane: Lane, last: int) -> None:
        removing = asyncio.create_task(self._remove_all(lane, last))
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)

    async def _remove_all(self, lane: Lane, last: int) -> None:
        with suppress(RefusedError):  # the next start removes what a full disk leaves
            while numbers := await self._storage.delete_some(lane.queue, last, self._now()):
                for number in numbers:
                    lane.remove(number)


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _page_size(asked: int, most: int) -> int:
    if asked < 0:
        raise invalid("The page size must not be negative.")
    return min(asked or most, most)


def _checked(config: QueueConfig, present: Queue | None) -> QueueConfig:
    # A queue that its program made with other limits keeps them until somebody asks for different ones.
    if present is None or config.rates != present.config.rates:
        checks.check_rates(config.rates)
    checks.check_retry(config.retry)
    return config
