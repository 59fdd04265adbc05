import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from longcall.core.errors import UnavailableError
from longcall.engine.ports import Stored
from longcall.stores.sqlite import SqliteStore
from longcall.stores.waiters import Waiters
from longcall.testing import FakeClock, settled
from tests.making import scheduled


@dataclass
class Shelf:
    """Records that anybody may change, and how often they were looked at."""

    versions: dict[str, int] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    looks: list[list[str]] = field(default_factory=list)
    away: bool = False
    slow: asyncio.Event | None = None

    async def get(self, task_id: str) -> Stored | None:
        """Read one, which takes a moment."""
        self.reads.append(task_id)
        version = self.versions.get(task_id)
        await (self.slow.wait() if self.slow else asyncio.sleep(0))
        return Stored(replace(scheduled(task_id), version=version), version) if version else None

    async def read(self, times: int) -> None:
        """Let others go on until records were read so often."""
        while len(self.reads) < times:  # noqa: ASYNC110 — each turn of the loop counts
            await asyncio.sleep(0)

    async def look(self, task_ids: Sequence[str]) -> Mapping[str, int]:
        """Read the versions of many."""
        self.looks.append(list(task_ids))
        if self.away:
            raise UnavailableError
        return {task_id: version for task_id, version in self.versions.items() if task_id in task_ids}


async def test_a_thousand_who_are_woken_share_one_reading() -> None:
    """Each reads when he comes; a write costs one reading for all of them together."""
    shelf, waiters = Shelf({"t": 1}), Waiters()
    waits = [asyncio.create_task(waiters.changed(shelf.get, "t", 1, 30)) for _ in range(1000)]
    await settled()
    shelf.reads.clear()
    shelf.versions["t"] = 2
    waiters.wake("t")
    assert {found.task.version for found in await asyncio.gather(*waits) if found} == {2}
    assert len(shelf.reads) == 1


async def test_a_reading_that_began_before_a_write_says_nothing_about_it() -> None:
    """One that takes long is not shared by those whom a later write has woken."""
    shelf, waiters = Shelf({"t": 1}), Waiters()
    early = asyncio.create_task(waiters.changed(shelf.get, "t", 2, 30))
    await settled()
    shelf.versions["t"], shelf.slow = 2, asyncio.Event()
    waiters.wake("t")
    await shelf.read(2)
    slow, shelf.slow = shelf.slow, None
    late = asyncio.create_task(waiters.changed(shelf.get, "t", 2, 30))
    await settled()
    shelf.versions["t"] = 3
    waiters.wake("t")
    await settled()
    slow.set()
    assert {found.task.version for found in await asyncio.wait_for(asyncio.gather(early, late), 5) if found} == {3}


async def test_one_who_stops_waiting_takes_the_reading_from_nobody() -> None:
    """The reading goes on for the others."""
    shelf, waiters = Shelf({"t": 1}), Waiters()
    waits = [asyncio.create_task(waiters.changed(shelf.get, "t", 1, 30)) for _ in range(2)]
    await settled()
    shelf.versions["t"] = 2
    waiters.wake("t")
    await shelf.read(3)
    waits[0].cancel()
    with suppress(asyncio.CancelledError):
        await waits[0]
    found = await asyncio.wait_for(waits[1], 5)
    assert found is not None
    assert found.task.version == 2


async def test_a_write_past_this_process_is_found_by_looking() -> None:
    """Nobody wakes anybody: a record that appears, changes or goes is seen all the same, and what stays as it is costs no reading."""
    shelf = Shelf({"old": 1, "going": 1, "same": 1})
    waiters = Waiters(shelf.look, period=0.01)
    awaited = {"old": 1, "new": 0, "going": 1}
    waits = [asyncio.create_task(waiters.changed(shelf.get, name, after, 30)) for name, after in awaited.items()]
    same = asyncio.create_task(waiters.changed(shelf.get, "same", 1, 30))
    await settled()
    shelf.reads.clear()
    await asyncio.sleep(0.05)
    assert shelf.reads == []
    shelf.versions |= {"old": 2, "new": 1}
    del shelf.versions["going"]
    found = await asyncio.wait_for(asyncio.gather(*waits), 5)
    assert [each.task.version if each else None for each in found] == [2, 1, None]
    assert "same" not in shelf.reads
    same.cancel()


async def test_nobody_looks_when_nobody_waits() -> None:
    """One look for all ids while somebody waits, none afterwards; a store that is away is looked at again."""
    shelf = Shelf({"a": 1, "b": 1}, away=True)
    waiters = Waiters(shelf.look, period=0.01)
    waits = [asyncio.create_task(waiters.changed(shelf.get, name, 1, 30)) for name in "aab"]
    await asyncio.sleep(0.05)
    assert len(shelf.looks) > 1
    assert set(map(tuple, shelf.looks)) == {("a", "b")}
    shelf.away = False
    shelf.versions = {"a": 2, "b": 2}
    await asyncio.wait_for(asyncio.gather(*waits), 5)
    shelf.looks.clear()
    await asyncio.sleep(0.05)
    assert shelf.looks == []
    again = asyncio.create_task(waiters.changed(shelf.get, "a", 2, 30))
    await asyncio.sleep(0.05)
    assert shelf.looks
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


@pytest.mark.parametrize("task_id", ["train", "train.callback-7", 'odd"\x00\u2028id'])
async def test_two_processes_on_one_sqlite_file_see_each_other_s_writes(tmp_path: Path, task_id: str) -> None:
    """A record made, changed and forgotten through one is seen by those who wait at the other."""
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        ours, theirs = [await stack.enter_async_context(SqliteStore.open(tmp_path / "shared.db", clock.now)) for _ in range(2)]
        task = scheduled(task_id)
        waits = [asyncio.create_task(theirs.changed(task_id, after, 30)) for after in (0, 1, 1_000)]
        await asyncio.sleep(0.1)
        assert await ours.insert(task)
        assert await asyncio.wait_for(waits[0], 5)
        assert await ours.replace(replace(task, version=2), 1)
        changed = await asyncio.wait_for(waits[1], 5)
        assert changed is not None
        assert changed.task.version == 2
        assert await ours.delete(replace(task, version=2), 2)
        assert await asyncio.wait_for(waits[2], 5) is None
