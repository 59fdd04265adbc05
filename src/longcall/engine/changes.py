"""What those who watch all tasks are told: every task's newest version, by asking the store once a second for all of them together."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from longcall.core.errors import OurFault
from longcall.core.task import ENDS, Kind, State, Task, Unreadable
from longcall.engine import observe
from longcall.engine.control import Control
from longcall.engine.events import PAUSE, SILENCE
from longcall.engine.ports import Query

POLL = 1.0  # seconds
SHARE = 4.0  # a poll of so many seconds is followed by a pause four times as long, so that a busy store is not asked without end
# Runners' clocks differ by some seconds, so each poll looks back a little behind the one before. A write may also land long after its
# time was taken: its message is queued first, and a store may be slow. So now and then a poll looks back further.
BACK, FAR_BACK = timedelta(seconds=5), timedelta(seconds=90)
FAR_PERIOD = 30.0  # seconds
PAGE = 100  # tasks that are read, and made of their JSON, in one go
MAX_PENDING = 1_000  # tasks kept for one slow reader
MAX_TOLD = 50_000  # versions remembered
_NOT_ENDED = frozenset(State) - ENDS


@dataclass(frozen=True, slots=True)
class Filter:
    """Whose changes are wanted. Everything given must hold; of `states` one."""

    states: frozenset[State] = frozenset()
    label: tuple[str, str] | None = None

    def fits(self, task: Task) -> bool:
        """Tell whether a task is wanted as it is now."""
        labels = {} if isinstance(task.spec, Unreadable) else task.spec.labels
        return (not self.states or task.state in self.states) and (self.label is None or labels.get(self.label[0]) == self.label[1])


@dataclass(frozen=True, slots=True)
class Change:
    """A task as it is now; None for a mere sign of life. What follows is had by asking again for what came after `token`."""

    task: Task | None
    token: datetime | None


@dataclass
class Told:
    """Which versions were told lately. A version forgotten too early is told twice, never not at all."""

    limit: int = MAX_TOLD
    _by_id: dict[str, tuple[datetime, int, datetime]] = field(default_factory=dict)

    def news(self, tasks: Sequence[Task]) -> list[Task]:
        """Those not told yet, which count as told from now on."""
        return [task for task in tasks if self._is_news(task)]

    def _is_news(self, task: Task) -> bool:
        created, version, _ = self._by_id.get(task.id, (None, 0, None))
        if created == task.create_time and version >= task.version:
            return False
        self._by_id.pop(task.id, None)
        self._by_id[task.id] = (task.create_time, task.version, task.update_time)
        if len(self._by_id) > self.limit:
            del self._by_id[next(iter(self._by_id))]
        return True

    def forget(self, before: datetime) -> None:
        """Forget what no poll finds again."""
        self._by_id = {task_id: entry for task_id, entry in self._by_id.items() if entry[2] > before}

    def __len__(self) -> int:
        return len(self._by_id)


@dataclass(eq=False)
class Watcher:
    """What waits for one reader: the newest version of each task, up to a limit; beyond it he is `behind`, and reads the store himself."""

    wanted: Filter
    behind: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _pending: dict[str, Task] = field(default_factory=dict)

    def offer(self, tasks: Sequence[Task]) -> None:
        """Keep what he wants of these."""
        for task in tasks if not self.behind else ():
            self._pending.pop(task.id, None)
            if self.wanted.fits(task):
                self._pending[task.id] = task
        if len(self._pending) > MAX_PENDING:
            self._pending.clear()
            self.behind = True
        if self._pending or self.behind:
            self.news.set()

    def take(self) -> list[Task]:
        """Everything that waits."""
        self.news.clear()
        taken, self._pending = list(self._pending.values()), {}
        return taken

    def restart(self) -> None:
        """Wait for what comes from now on: what came before is about to be read."""
        self.take()
        self.behind = False


@dataclass
class Changes:
    """Watching all tasks of kind `call`. However many watch, the store is asked once; and not at all while nobody does.

    Each task's newest version is told at least once; versions in between may be skipped, and one may be told twice. That a task was
    forgotten is not told.
    """

    control: Control
    silence: float = SILENCE
    _told: Told = field(default_factory=Told)
    _watchers: set[Watcher] = field(default_factory=set)
    _border: datetime | None = None
    _begun: asyncio.Event = field(default_factory=asyncio.Event)
    _loops: list["asyncio.Task[None]"] = field(default_factory=list)

    async def after(self, token: datetime | None, wanted: Filter, back: timedelta = FAR_BACK) -> AsyncGenerator[Change, None]:
        """What has changed since `token`, less `back`, and then each change as it is seen; a sign of life after each silence.

        Without a token first everything that has not ended. It ends when this process is to stop.
        """
        async with self._watching(Watcher(wanted)) as watcher:
            while not self.control.closing.is_set():
                if watcher.behind:
                    watcher.restart()
                    started = self._border
                    async for task in self._stored(wanted, token and token - back):
                        yield Change(task, token)
                    token = started
                else:
                    border = self._border
                    for task in watcher.take():
                        yield Change(task, token)
                    token = border
                yield Change(None, token)
                await self._news(watcher)

    async def _stored(self, wanted: Filter, since: datetime | None) -> AsyncIterator[Task]:
        states = wanted.states if since else (wanted.states or _NOT_ENDED) & _NOT_ENDED
        query = Query(states=states, label=wanted.label, updated_after=since, limit=PAGE)
        while (since or states) and not self.control.closing.is_set():
            try:
                page = await self.control.page(query)
            except OurFault as error:
                observe.out_of_reach("store", error)
                await self.control.clock.sleep(PAUSE)
                continue
            for task in page.tasks:
                yield task
            if not page.next_token:
                break
            query = replace(query, token=page.next_token)

    async def _news(self, watcher: Watcher) -> None:
        with suppress(TimeoutError):  # then a sign of life is due
            async with asyncio.timeout(self.silence):
                await watcher.news.wait()

    @asynccontextmanager
    async def _watching(self, watcher: Watcher) -> AsyncIterator[Watcher]:
        self._watchers.add(watcher)
        if not self._loops:
            self._begun.clear()
            self._loops = [asyncio.create_task(each) for each in (self._poll(), self._close())]
        try:
            await self._begun.wait()
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                for each in self._loops:
                    each.cancel()
                self._loops = []
                self._told, self._border = Told(), None

    async def _close(self) -> None:
        await self.control.closing.wait()
        self._begun.set()
        for watcher in self._watchers:
            watcher.news.set()

    async def _poll(self) -> None:
        clock, far_due = self.control.clock, 0.0
        while True:
            now, began = clock.now(), clock.monotonic()
            far = self._border is None or began >= far_due
            try:
                await self._look(now, FAR_BACK if far else BACK)
            except OurFault as error:
                observe.out_of_reach("store", error)
            else:
                if far:
                    far_due = began + FAR_PERIOD
                    self._told.forget(now - FAR_BACK)
            await clock.sleep(max(POLL, SHARE * (clock.monotonic() - began)))

    async def _look(self, now: datetime, back: timedelta) -> None:
        """Tell what is new. The first look only learns what was there before: until it is over, all who watch are behind."""
        query = Query(kind=Kind.CALL, updated_after=(self._border or now) - back, limit=PAGE)
        while True:
            page = await self.control.page(query)
            news = self._told.news(page.tasks)
            for watcher in self._watchers:
                watcher.offer(news)
            if not page.next_token:
                break
            query = replace(query, token=page.next_token)
        self._border = now
        self._begun.set()
