import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.errors import UnavailableError
from longcall.core.task import State, Task
from longcall.engine import changes as under_test
from longcall.engine.changes import Change, Changes, Filter, Told, Watcher
from longcall.engine.ports import Page, Query
from longcall.testing import settled
from tests.engine.house import House
from tests.making import NOON, scheduled, spec


@dataclass
class Reader:
    """One who watches, and what he was told."""

    changes: Changes
    since: datetime | None = None
    wanted: Filter = field(default_factory=Filter)
    told: list[tuple[str, int]] = field(default_factory=list)
    token: datetime | None = None
    signs: int = 0
    hurdle: asyncio.Event | None = None

    def __post_init__(self) -> None:
        """Begin."""
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for change in self.changes.after(self.since, self.wanted):
            self._take(change)
            if self.hurdle:
                await self.hurdle.wait()

    def _take(self, change: Change) -> None:
        if change.task is None:
            self.signs += 1
        else:
            self.told.append((change.task.id, change.task.version))
        self.token = change.token

    async def leave(self) -> None:
        """Stop watching."""
        self.reading.cancel()
        with suppress(asyncio.CancelledError):
            await self.reading


@dataclass
class Office:
    """A house, and tasks that are written by runners whose clocks are not quite right."""

    house: House = field(default_factory=House)

    def __post_init__(self) -> None:
        """One feed for all readers."""
        self.changes = Changes(self.house.control, silence=3600)

    async def write(self, task_id: str, behind: float = 0, **fields: object) -> Task:
        """Write a record, or its next version, with a time that lies so many seconds behind this process's."""
        now = self.house.clock.now() - timedelta(seconds=behind)
        stored = await self.house.store.get(task_id)
        if stored is None:
            asked = spec(labels={"team": "ml"} if task_id.startswith("ml") else {})
            task = replace(scheduled(task_id, asked, now), **fields)  # type: ignore[arg-type] # fields by name
            assert await self.house.store.insert(task)
            return task
        task = replace(stored.task, version=stored.task.version + 1, update_time=now, **fields)  # type: ignore[arg-type] # as above
        assert await self.house.store.replace(task, stored.tag)
        return task

    async def reader(self, since: datetime | None = None, wanted: Filter | None = None) -> Reader:
        """Somebody starts to watch."""
        reader = Reader(self.changes, since, wanted or Filter())
        await settled(200)
        return reader

    async def passes(self, seconds: float = 1) -> None:
        """Let time pass, second by second."""
        for _ in range(int(seconds)):
            await self.house.clock.advance(1)
            await settled(60)


@pytest.fixture
def office() -> Office:
    """A feed and its house."""
    return Office()


@pytest.fixture(autouse=True)
async def nothing_left(office: Office) -> AsyncIterator[None]:
    """When nobody watches any more, nothing goes on."""
    before = asyncio.all_tasks()
    yield
    office.house.control.closing.set()
    await settled(200)
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert left == set()


async def test_first_what_has_not_ended_and_then_each_change(office: Office) -> None:
    """What ended before is not told; what comes, changes or ends from now on is, once each."""
    await office.write("over", state=State.SUCCEEDED)
    await office.write("going", state=State.RUNNING)
    reader = await office.reader()
    assert reader.told == [("going", 1)]
    await office.write("going", state=State.SUCCEEDED)
    await office.write("new")
    await office.passes(10)
    assert sorted(reader.told[1:]) == [("going", 2), ("new", 1)]


async def test_the_store_is_asked_once_for_all_who_watch_and_not_at_all_for_nobody(office: Office) -> None:
    """Ten readers cost a poll a second, none costs none."""
    asked: list[Query] = []
    page = office.house.store.page

    async def counted(query: Query) -> Page:
        asked.append(query)
        return await page(query)

    office.house.store.page = counted  # type: ignore[method-assign] # a port's method, listened to
    readers = [await office.reader() for _ in range(10)]
    asked.clear()
    await office.write("new")
    await office.passes(10)
    assert all(reader.told == [("new", 1)] for reader in readers)
    assert 9 <= len(asked) <= 11
    for reader in readers:
        await reader.leave()
    asked.clear()
    await office.passes(10)
    assert asked == []


async def test_a_runner_whose_clock_is_behind_is_heard(office: Office) -> None:
    """A change whose time lies some seconds before a poll that did not see it is told by the next one."""
    reader = await office.reader()
    await office.passes(3)
    await office.write("late", behind=4)
    await office.passes(2)
    assert reader.told == [("late", 1)]


async def test_a_write_that_lands_a_minute_after_its_time_is_told(office: Office) -> None:
    """Its message was queued first, and the queue took its time: the wider look finds it."""
    reader = await office.reader()
    await office.passes(3)
    await office.write("late", behind=60)
    await office.passes(35)
    assert reader.told == [("late", 1)]


async def test_a_runner_whose_clock_is_ahead_is_told_once(office: Office) -> None:
    """A time that has not come yet hides nothing that comes after it, and is not told at every poll."""
    reader = await office.reader()
    await office.write("ahead", behind=-30)
    await office.passes(2)
    await office.write("other")
    await office.passes(120)
    assert reader.told == [("ahead", 1), ("other", 1)]


async def test_equal_times_hide_nothing(office: Office) -> None:
    """Two changes in one microsecond, one of them seen before the other is written."""
    reader = await office.reader()
    office.house.clock.time = NOON + timedelta(seconds=3)
    await office.write("one")
    await office.house.clock.advance(1)
    await settled(60)
    await office.write("two", behind=1)
    await office.passes(2)
    assert reader.told == [("one", 1), ("two", 1)]


async def test_filters_are_each_reader_s_own(office: Office) -> None:
    """By state and by label, in what is told first and in what comes."""
    await office.write("ml-1", state=State.RUNNING)
    await office.write("plain", state=State.RUNNING)
    by_label = await office.reader(wanted=Filter(label=("team", "ml")))
    ended = await office.reader(wanted=Filter(states=frozenset({State.SUCCEEDED, State.FAILED})))
    await office.write("ml-1", state=State.FAILED)
    await office.write("plain")
    await office.passes(2)
    assert by_label.told == [("ml-1", 1), ("ml-1", 2)]
    assert ended.told == [("ml-1", 2)]


async def test_whoever_comes_back_misses_nothing(office: Office) -> None:
    """With the token of the last thing he was told he gets whatever came since, ends too; and not what ended long before."""
    await office.write("ancient", state=State.SUCCEEDED)
    await office.passes(200)
    reader = await office.reader()
    await office.write("going")
    await office.passes(2)
    await reader.leave()
    await office.write("going", state=State.SUCCEEDED)
    await office.write("late", behind=60)
    await office.passes(5)
    again = await office.reader(reader.token)
    assert set(again.told) >= {("going", 2), ("late", 1)}
    assert "ancient" not in dict(again.told)


async def test_a_token_never_runs_ahead_of_what_was_told(office: Office) -> None:
    """Whoever is cut off in the middle of much news has a token from before all of it."""
    reader = await office.reader()
    await office.passes(10)
    for number in range(5):
        await office.write(f"t{number}")
    written = office.house.clock.now()
    reader.hurdle = asyncio.Event()
    await office.passes(3)
    assert len(reader.told) == 1
    assert reader.token is not None
    assert reader.token <= written
    await reader.leave()


async def test_a_slow_reader_costs_little_and_still_gets_the_newest_of_each(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for him is bounded; beyond that he reads the store himself, at his own pace."""
    monkeypatch.setattr(under_test, "MAX_PENDING", 10)
    reader = await office.reader()
    reader.hurdle = asyncio.Event()
    await office.write("first")
    await office.passes(2)
    for number in range(40):
        await office.write(f"t{number}")
    await office.passes(2)
    (watcher,) = office.changes._watchers  # noqa: SLF001 — what is kept for him is nobody else's to see
    assert (len(watcher._pending), watcher.behind) == (0, True)  # noqa: SLF001 — as above
    reader.hurdle.set()
    await office.passes(2)
    assert {task_id for task_id, _ in reader.told} == {"first", *(f"t{number}" for number in range(40))}


async def test_a_store_that_is_away_is_waited_for(office: Office) -> None:
    """Nothing is told meanwhile, and everything afterwards."""
    reader = await office.reader()
    page, away = office.house.store.page, True

    async def away_for_now(query: Query) -> Page:
        if away:
            raise UnavailableError("away")
        return await page(query)

    office.house.store.page = away_for_now  # type: ignore[method-assign] # a port's method, out of reach
    await office.write("new")
    await office.passes(200)
    away = False
    await office.passes(3)
    assert reader.told == [("new", 1)]


async def test_a_silent_watch_gives_signs_of_life_that_move_its_token(office: Office) -> None:
    """Whoever comes back after a quiet day need not read that day again."""
    office.changes.silence = 0.01
    reader = await office.reader()
    first = reader.token
    for _ in range(5):
        await office.passes(1)
        await asyncio.sleep(0.02)
    assert reader.signs > 2
    assert first is not None
    assert reader.token is not None
    assert reader.token > first


def test_what_was_told_is_bounded_and_forgotten_late() -> None:
    """The oldest goes first, and is told again rather than not at all."""
    told = Told(limit=2)
    tasks = [scheduled(f"t{number}") for number in range(3)]
    assert told.news(tasks) == tasks
    assert len(told) == 2
    assert told.news(tasks[1:]) == []
    assert told.news(tasks[:1]) == tasks[:1]
    told.forget(NOON)
    assert told.news(tasks) == tasks


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.integers(0, 1)), max_size=30))
def test_each_version_is_news_once_and_an_older_one_never(found: list[tuple[str, int, int]]) -> None:
    """Whatever the polls find again; an id used again after it was forgotten is news."""
    told, newest = Told(), dict[tuple[str, int], int]()
    last: dict[str, int] = {}
    for task_id, version, life in found:
        task = replace(scheduled(task_id), version=version, create_time=NOON + timedelta(seconds=life))
        known = newest.get((task_id, life), 0) if last.get(task_id) == life else 0
        assert bool(told.news([task])) is (version > known)
        newest[task_id, life] = max(version, known)
        last[task_id] = life


def test_the_newest_version_waits_alone() -> None:
    """Of one task only the last one offered is kept, and none once it is not wanted any more."""
    watcher = Watcher(Filter(states=frozenset({State.RUNNING})), behind=False)
    task = replace(scheduled("t"), state=State.RUNNING)
    watcher.offer([task, replace(task, version=2)])
    assert [each.version for each in watcher.take()] == [2]
    watcher.offer([replace(task, version=3)])
    watcher.offer([replace(task, version=4, state=State.FAILED)])
    assert watcher.take() == []


@given(st.data())
def test_whatever_the_clocks_and_delays_each_newest_version_is_told(data: st.DataObject) -> None:
    """Runners with clocks up to 4 s off write at any time: each task's last version reaches a reader who was there all along."""

    async def history() -> None:
        office = Office()
        reader = await office.reader()
        written: dict[str, int] = {}
        for _ in range(data.draw(st.integers(1, 12))):
            task = await office.write(data.draw(st.sampled_from("abcd")), data.draw(st.floats(-4, 4)))
            written[task.id] = task.version
            if data.draw(st.booleans()):
                await office.passes(data.draw(st.integers(1, 3)))
        await office.passes(3)
        assert {task_id: version for task_id, version in reader.told} == written  # noqa: C416 — the last one told of each
        await reader.leave()

    asyncio.run(history())
