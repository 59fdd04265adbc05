import asyncio
from datetime import timedelta

import pytest

from longcall.core.errors import UnavailableError
from longcall.core.task import HttpRequest, TaskSpec
from longcall.engine.calls import body_key
from longcall.engine.retention import STEP, Retention
from longcall.testing import settled
from tests.engine.house import House, answers

MONTH = timedelta(days=30)


def retention(house: House) -> Retention:
    """As every runner has it."""
    return Retention(house.store, house.bodies, house.clock, MONTH)


async def ended(house: House, task_id: str) -> None:
    """A task that was called and succeeded now."""
    runner = await house.runner()
    await house.submit(task_id)
    house.caller.answer = answers(house, 200)
    await runner.dispatcher.dispatch(house.first_message(task_id))


async def test_what_ended_longer_ago_than_is_kept_is_forgotten() -> None:
    """A task goes when its time is over, and not a moment before; what has not ended stays for ever."""
    house = House()
    await ended(house, "old")
    await house.submit("open")
    house.clock.time += MONTH
    await retention(house).step()
    assert await house.store.get("old") is not None
    house.clock.time += timedelta(microseconds=1)
    await retention(house).step()
    assert await house.store.get("old") is None
    assert await house.store.get("open") is not None


async def test_bodies_go_with_their_task() -> None:
    """A request body by reference and a large response are forgotten with the record, and nobody else's."""
    house = House()
    await house.submit("old", TaskSpec(HttpRequest("http://127.0.0.1:9/", body=b"x" * 200_000)))
    runner = await house.runner()
    await runner.dispatcher.dispatch(house.first_message("old"))
    stored = await house.task("old")
    assert stored.state.ended
    assert list(house.bodies.kept) == [body_key(stored)]
    house.bodies.kept["responses/another"] = b"stays"
    house.clock.time += MONTH + timedelta(seconds=1)
    await retention(house).step()
    assert house.bodies.kept == {"responses/another": b"stays"}


async def test_it_goes_on_while_there_is_more() -> None:
    """A full step says that there may be more, and the last one that there is none."""
    house = House()
    for number in range(STEP + 1):
        await ended(house, f"t{number}")
    house.clock.time += MONTH + timedelta(seconds=1)
    assert await retention(house).step()
    assert not await retention(house).step()
    assert sum((await house.store.counts(house.clock.now())).by_state.values()) == 0


async def test_a_store_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention outlives a store that is away, and a body store that is."""
    house = House()
    await ended(house, "old")
    house.clock.time += MONTH + timedelta(seconds=1)
    purge = house.store.purge

    async def away(*_: object) -> None:
        raise UnavailableError("the store does not answer")

    monkeypatch.setattr(house.store, "purge", away)
    keeping = asyncio.create_task(retention(house).keep())
    await settled()
    monkeypatch.setattr(house.store, "purge", purge)
    assert await house.store.get("old") is not None
    await house.clock.advance(600)
    assert await house.store.get("old") is None
    keeping.cancel()
