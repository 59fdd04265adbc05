"""Takes what is due, sends it, and writes down how that ended."""

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from longcall.queue import lifecycle
from longcall.queue.errors import RefusedError
from longcall.queue.lane import Lane
from longcall.queue.lifecycle import Answer
from longcall.queue.model import QueuedTask
from longcall.queue.sender import Sender
from longcall.queue.storage import TaskStorage

_log = logging.getLogger(__name__)

_MOST = 128
"""Tasks taken in one write, so that their bodies don't fill the memory while they wait for it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a dispatcher has its time and chance from, and the longest it sleeps without looking at the clock.

    A wait runs on the monotonic clock, which stands still while a laptop sleeps; ``clock_check`` (seconds) bounds that.
    """

    now: Callable[[], datetime]
    chance: Callable[[], float]
    clock_check: float


class Dispatcher:
    """Runs every lane. Dispatches begin after ``start``; whatever is open at the end of ``open`` is dropped."""

    def __init__(self, storage: TaskStorage, sender: Sender, pace: Pace) -> None:
        self._storage = storage
        self._sender = sender
        self._pace = pace
        self._lanes: set[Lane] = set()
        self._pumps: dict[Lane, asyncio.Task[None]] = {}
        self._dispatches: set[asyncio.Task[None]] = set()
        self._started = False
        self._stopped = False

    @classmethod
    @asynccontextmanager
    async def open(cls, storage: TaskStorage, sender: Sender, pace: Pace) -> AsyncIterator["Dispatcher"]:
        """Hold a dispatcher; at the end it stops, and the next start takes up what it left."""
        dispatcher = cls(storage, sender, pace)
        try:
            yield dispatcher
        finally:
            await asyncio.gather(*dispatcher.stop(), return_exceptions=True)

    @property
    def dispatching(self) -> int:
        """How many dispatches are open, or about to be."""
        return sum(lane.limiter.open for lane in self._lanes)

    def next_due(self) -> datetime | None:
        """Return when the first waiting task is due of those in queues that are not paused."""
        return min((due for lane in self._lanes if (due := lane.next_due()) is not None), default=None)

    def start(self) -> None:
        """Begin to dispatch."""
        self._started = True
        for lane in self._lanes:
            self._pump_lane(lane)

    def stop(self) -> Sequence[asyncio.Task[None]]:
        """Drop every open dispatch and begin no other; return what is then on its way to an end."""
        self._stopped = True
        running = [*self._pumps.values(), *self._dispatches]
        for task in running:
            task.cancel()
        return running

    def attach(self, lane: Lane) -> None:
        """Dispatch what waits in this lane too."""
        self._lanes.add(lane)
        if self._started:
            self._pump_lane(lane)

    def detach(self, lane: Lane) -> None:
        """Dispatch nothing more of this lane; what is open goes on."""
        self._lanes.discard(lane)
        if (pump := self._pumps.pop(lane, None)) is not None:
            pump.cancel()

    async def run_now(self, lane: Lane, task: QueuedTask) -> QueuedTask | None:
        """Dispatch a waiting task whatever its time, the queue's limits and its pause; None if it does not wait."""
        lane.remove(task.number)
        lane.limiter.begin(1)
        try:
            taken = await self._begin(lane, [task.number])
        except RefusedError:
            lane.unused(1)
            lane.add(task.number, task.schedule_time)
            raise
        return taken[0] if taken else None

    def _pump_lane(self, lane: Lane) -> None:
        if lane not in self._pumps:
            self._pumps[lane] = asyncio.create_task(self._pump(lane))
            self._pumps[lane].add_done_callback(_complain)

    async def _pump(self, lane: Lane) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            now = self._pace.now()
            numbers = lane.take(now, clock(), _MOST)
            if not numbers:
                await lane.changed(now, clock(), self._pace.clock_check)
                continue
            try:
                await self._begin(lane, numbers)
            except RefusedError as error:
                await self._put_back(lane, numbers, now, error)

    def _begin(self, lane: Lane, numbers: Sequence[int]) -> Future[list[QueuedTask]]:
        # The count is durable before the request goes out: what may have been sent is never counted as not sent.
        return self._storage.take(lane.queue, numbers, self._pace.now(), lambda tasks: self._send_all(lane, len(numbers), tasks))

    async def _put_back(self, lane: Lane, numbers: Sequence[int], due: datetime, error: RefusedError) -> None:
        lane.unused(len(numbers))
        for number in numbers:
            lane.add(number, due)
        await self._pause_after(error)

    async def _pause_after(self, error: RefusedError) -> None:
        _log.error("queue.storage_failed", extra={"reason": str(error)})
        # By chance, so that thousands of open dispatches don't come back to a full disk all at once.
        await asyncio.sleep(1.0 - self._pace.chance() / 2)

    def _send_all(self, lane: Lane, counted: int, tasks: Sequence[QueuedTask]) -> None:
        lane.unused(counted - len(tasks))
        if self._stopped:
            return
        for task in tasks:
            dispatch = asyncio.create_task(self._dispatch(lane, task))
            self._dispatches.add(dispatch)
            dispatch.add_done_callback(self._dispatches.discard)
            dispatch.add_done_callback(_complain)

    async def _dispatch(self, lane: Lane, task: QueuedTask) -> None:
        try:
            answer = await self._sender.send(task)
            while not await self._is_written(lane, task, answer):
                pass
        finally:
            lane.ended()

    async def _is_written(self, lane: Lane, task: QueuedTask, answer: Answer) -> bool:
        at = self._pace.now()
        waiting = lifecycle.after(task, answer, lane.queue.config.retry, at)
        _report(task, answer, waiting)
        try:
            if waiting is None:
                await self._storage.finish(task, at)
            elif await self._storage.wait(waiting):
                lane.add(waiting.number, waiting.schedule_time)
        except RefusedError as error:
            await self._pause_after(error)
            return False
        return True


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("queue.broke", exc_info=error)


def _report(task: QueuedTask, answer: Answer, waiting: QueuedTask | None) -> None:
    if not answer.message:
        return
    event, level = ("dispatch.failed", logging.INFO) if waiting else ("task.given_up", logging.WARNING)
    attempt = {"task_name": task.name, "dispatch_count": task.dispatch_count, "reason": answer.message}
    _log.log(level, event, extra=attempt)
