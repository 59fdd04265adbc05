import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core import lifecycle
from longcall.core.errors import NotFoundError, UnavailableError
from longcall.core.task import State, Task
from longcall.engine.events import Next, TaskEvents, what_next
from longcall.testing import settled
from tests.engine.house import House, StormyStore
from tests.making import NOON, broken, responded, running, scheduled


def told(task: Task | None) -> tuple[int, str] | None:
    """What a reader makes of an event."""
    return (task.version, task.state.value) if task else None


async def rewrite(house: House, task: Task) -> Task:
    """Write the next version of the record."""
    stored = await house.stored(task.id)
    after = replace(task, version=stored.task.version + 1)
    assert await house.store.replace(after, stored.tag)
    return after


def watch(house: House, told: int | None = None, silence: float = 15) -> AsyncGenerator[Task | None, None]:
    """The events of the house's task."""
    events = TaskEvents(house.control, silence)

    async def opened() -> AsyncGenerator[Task | None, None]:
        async with aclosing(events.after(await events.first("train", 0), told)) as versions:
            async for task in versions:
                yield task

    return opened()


@given(st.none() | st.integers(0, 9), st.integers(1, 9), st.sampled_from(State))
def test_what_is_told_next(told: int | None, version: int, state: State) -> None:
    """Any version but the one told is told; after an end that was told comes nothing; otherwise it is waited."""
    task = replace(scheduled(), version=version, state=state)
    if told != version:
        assert what_next(told, task) is Next.TELL
    else:
        assert what_next(told, task) is (Next.END if state.ended else Next.WAIT)


async def test_every_version_up_to_the_end(house: House) -> None:
    """The present one, those that come while it is watched, and nothing after the end."""
    await house.submit()
    seen = []
    async with aclosing(watch(house)) as events:
        async for task in events:
            seen.append(told(task))
            if len(seen) == 1:
                await rewrite(house, running())
            elif len(seen) == 2:
                await rewrite(house, lifecycle.settle(running(), responded(), NOON, 0.5))
    assert seen == [(1, "SCHEDULED"), (2, "RUNNING"), (3, "SUCCEEDED")]


async def test_what_was_told_is_not_told_again(house: House) -> None:
    """Whoever comes back with the present version gets the next one first; with any other, the present one."""
    await house.submit()
    await rewrite(house, running())
    again, anew = watch(house, 2, silence=0.01), watch(house, 7)
    assert await anext(again) is None
    await rewrite(house, lifecycle.settle(running(), broken(), NOON, 0.5))
    assert told(await anext(again)) == (3, "WAITING")
    assert told(await anext(anew)) == (3, "WAITING")
    await again.aclose()
    await anew.aclose()


async def test_nothing_is_lost_between_telling_and_waiting(house: House) -> None:
    """A version written while the one before is on its way out is told next, however many come in between."""
    await house.submit()
    async with aclosing(watch(house)) as events:
        await anext(events)
        task = running()
        for _ in range(3):
            task = await rewrite(house, task)
        async with asyncio.timeout(5):
            assert told(await anext(events)) == (4, "RUNNING")


async def test_a_task_that_is_forgotten_ends_the_watch(house: House) -> None:
    """There is nothing more to tell."""
    await house.submit()
    async with aclosing(watch(house)) as events:
        await anext(events)
        following = asyncio.create_task(anext(events))
        await settled(60)
        assert await house.store.delete(*await house.stored())
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(following, 5)


async def test_a_process_that_stops_ends_every_watch(house: House) -> None:
    """At once, and not at the next silence."""
    await house.submit()
    async with aclosing(watch(house)) as events:
        await anext(events)
        following = asyncio.create_task(_all(events))
        await settled(60)
        house.control.closing.set()
        assert [task for task in await asyncio.wait_for(following, 5) if task] == []


async def test_a_store_that_is_away_is_waited_for(house: House) -> None:
    """The watch goes on when the store is back, and has what came meanwhile."""
    await house.submit()
    async with aclosing(watch(house, silence=0)) as events:
        await anext(events)
        house.store.away = True
        assert await anext_while(house, events) is None
        house.store.away = False
        await rewrite(house, running())
        assert told(await anext_while(house, events)) == (2, "RUNNING")


async def test_an_id_not_seen_yet_is_waited_for_when_asked(house: House) -> None:
    """Without patience it is not found at once; a process that stops meanwhile says so, and not that it is not there."""
    events = TaskEvents(house.control)
    with pytest.raises(NotFoundError):
        await events.first("train", 0)
    coming = asyncio.create_task(events.first("train", 30))
    await settled(60)
    await house.submit()
    assert (await asyncio.wait_for(coming, 5)).task.id == "train"
    stopped = asyncio.create_task(events.first("other", 30))
    await settled(60)
    house.control.closing.set()
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(stopped, 5)


async def test_who_stops_watching_leaves_nothing_behind(house: House) -> None:
    """No task of the loop's goes on for a watch that was given up."""
    await house.submit()
    before = asyncio.all_tasks()
    events = watch(house)
    await anext(events)
    following = asyncio.create_task(anext(events))
    await settled(60)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    await events.aclose()
    await settled()
    assert asyncio.all_tasks() == before


@pytest.fixture
def house() -> House:
    """An engine."""
    made = House()
    assert isinstance(made.store, StormyStore)
    return made


async def _all(events: AsyncGenerator[Task | None, None]) -> list[Task | None]:
    return [task async for task in events]


async def anext_while(house: House, events: AsyncGenerator[Task | None, None]) -> Task | None:
    """The next event, while time passes."""
    following = asyncio.create_task(anext(events))
    async with asyncio.timeout(5):
        while not following.done():
            await house.clock.advance(1)
    return following.result()
