"""One queue at work: what waits in it, what it may dispatch now, and what to wait for otherwise."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from longcall.queue.model import Queue
from longcall.queue.rates import Limiter
from longcall.queue.schedule import Schedule

_SHORTEST = 0.001
"""Seconds that are waited at least: the loop's timers are no finer, and would be asked again and again."""


class Lane:
    """A queue with its waiting tasks and its limits. Used on one event loop only."""

    def __init__(self, queue: Queue, waiting: Iterable[tuple[datetime, int]], clock: float) -> None:
        self.queue: Queue = queue
        self.limiter: Limiter = Limiter(queue.config.rates, clock)
        self._schedule = Schedule(waiting)
        self._changed = asyncio.Event()

    def add(self, number: int, due: datetime) -> None:
        """Let a task wait until ``due``."""
        first = self._schedule.next_due()
        self._schedule.add(number, due)
        if first is None or due < first:
            self._changed.set()

    def remove(self, number: int) -> None:
        """Forget a waiting task."""
        self._schedule.remove(number)

    def next_due(self) -> datetime | None:
        """Return when the first waiting task is due, None when none is or the queue is paused."""
        return None if self.queue.paused else self._schedule.next_due()

    def change(self, queue: Queue, clock: float) -> None:
        """Take another configuration or state."""
        self.queue = queue
        self.limiter.change(queue.config.rates, clock)
        self._changed.set()

    def take(self, now: datetime, clock: float, most: int) -> list[int]:
        """Take out the tasks whose dispatch may begin now, at most ``most``; they count as open."""
        if self.queue.paused:
            return []
        numbers = self._schedule.take_due(now, min(self.limiter.room(clock), most))
        self.limiter.begin(len(numbers))
        return numbers

    def ended(self) -> None:
        """Count one dispatch as ended."""
        self.limiter.end()
        self._changed.set()

    def unused(self, count: int) -> None:
        """Give back places that were taken for nothing."""
        self.limiter.unused(count)
        self._changed.set()

    async def changed(self, now: datetime, clock: float, longest: float) -> None:
        """Return when ``take`` may give something: after a change, or when a task comes due or the rate allows one."""
        self._changed.clear()
        seconds = self._seconds_to_wait(now, clock)
        if seconds is None:
            await self._changed.wait()
            return
        timer = asyncio.get_running_loop().call_later(min(max(seconds, _SHORTEST), longest), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    def _seconds_to_wait(self, now: datetime, clock: float) -> float | None:
        due, to_token = self.next_due(), self.limiter.seconds_to_token(clock)
        if due is None or to_token is None:
            return None
        return max((due - now).total_seconds(), to_token, 0.0)
