"""What a process tells everybody who looks."""

import asyncio
from dataclasses import replace

import pytest

from longcall.core.errors import UnavailableError
from longcall.core.task import State
from longcall.engine.stats import KEPT, MOST_RECENT, RECENT_KEPT, Kept, Stats
from longcall.testing import FakeClock
from tests.engine.house import House
from tests.web import scenes


class Counter:
    """Counts how often it is read, and is away when told."""

    def __init__(self) -> None:
        self.reads = 0
        self.away = False

    async def read(self) -> int:
        """One more."""
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise UnavailableError
        return self.reads


async def test_what_was_read_is_kept_a_moment() -> None:
    """Everybody who asks meanwhile gets it, also those who ask while it is read; after that it is read again."""
    clock, counter = FakeClock(), Counter()
    kept = Kept(counter.read, clock, lambda _: 2.0)
    assert await asyncio.gather(*(kept.get() for _ in range(5))) == [1] * 5
    await clock.advance(1.9)
    assert await kept.get() == 1
    await clock.advance(0.1)
    assert await kept.get() == 2


async def test_a_failed_read_is_not_kept() -> None:
    """Whoever asks next reads again."""
    counter = Counter()
    kept = Kept(counter.read, FakeClock(), lambda _: 2.0)
    counter.away = True
    with pytest.raises(UnavailableError):
        await kept.get()
    counter.away = False
    assert await kept.get() == 2


async def test_a_reader_who_goes_takes_nobody_along() -> None:
    """A browser that closes the page while the store is read."""
    counter = Counter()
    kept = Kept(counter.read, FakeClock(), lambda _: 2.0)
    first, second = asyncio.create_task(kept.get()), asyncio.create_task(kept.get())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2


async def test_stats_are_the_stores() -> None:
    """Counts, runners, and the newest calls that changed in the last day."""
    house = House()
    now = house.clock.now()
    old = scenes.run(
        scenes.made("old", now - scenes.seconds(90_000)), now - scenes.seconds(90_000), scenes.answered(now - scenes.seconds(89_000))
    )
    for task in (*scenes.three(now), old):
        await house.store.insert(task)
    await house.runner("r-1")
    stats = Stats.of(house.store, house.clock)
    counts = await stats.counts.get()
    assert counts.by_state == {State.SUCCEEDED: 2, State.RUNNING: 1, State.FAILED: 1}
    assert [runner.name for runner in await stats.runners.get()] == ["r-1"]
    assert {task.id for task in (await stats.recent.get()).tasks} == {"train-1", "train-2", "train-3"}
    await house.store.insert(replace(old, id="new", update_time=now))
    await house.clock.advance(KEPT)
    assert (await stats.counts.get()).by_state[State.SUCCEEDED] == 3
    assert len((await stats.recent.get()).tasks) == 3
    await house.clock.advance(RECENT_KEPT)
    assert len((await stats.recent.get()).tasks) == 4
    assert MOST_RECENT == 500


async def test_a_runner_says_since_when_it_is_there() -> None:
    """Every beat tells of the same start."""
    house = House()
    runner = await house.runner("r-1")
    start = house.clock.now()
    await house.clock.advance(20)
    await runner.lease.beat()
    (seen,) = await house.store.runners()
    assert (seen.start_time, seen.beat_time) == (start, house.clock.now())
