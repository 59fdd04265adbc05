from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from longcall.queue import QueueConfig, RefusedError, roster, schema
from longcall.queue.dispatcher import Dispatcher, Pace
from longcall.queue.errors import Code
from longcall.queue.grouping import GroupedWrites
from longcall.queue.lane import Lane
from longcall.queue.model import AppEngineTarget, Draft, HttpTarget, Method, OAuthToken, OidcToken, RetryOverride, Routing
from longcall.queue.oidc import Issuer
from longcall.queue.sender import Address, Sender
from longcall.queue.storage import TaskStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from longcall.queue.model import Queue, QueuedTask
    from tests.queue.conftest import Target

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
KEPT = timedelta(hours=1)
ISSUER = Issuer("http://issuer.test", "")
DRAFT = Draft(AppEngineTarget("/dispatch"))


class _Failing(TaskStorage):
    failures = 0

    def take(self, *arguments: Any) -> asyncio.Future[list[QueuedTask]]:  # noqa: ANN401 — passed on
        return self._failed() if self._fails() else super().take(*arguments)

    def finish(self, *arguments: Any) -> asyncio.Future[bool]:  # noqa: ANN401 — passed on
        return self._failed() if self._fails() else super().finish(*arguments)

    def _fails(self) -> bool:
        self.failures -= 1
        return self.failures >= 0

    def _failed(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(RefusedError(Code.UNAVAILABLE, "the disk is full"))
        return future


@pytest.fixture
async def stored() -> AsyncIterator[tuple[_Failing, Queue]]:
    """Give a storage in memory with one queue."""
    with closing(schema.connect(None)) as connection:
        queue = roster.insert(connection, QueueConfig("projects/p/locations/l/queues/q"))
        writes = GroupedWrites(connection)
        yield _Failing(writes, KEPT), queue
        await writes.close()


def _known(_: object) -> None:
    pass


@pytest.mark.parametrize(
    "draft",
    [
        DRAFT,
        Draft(AppEngineTarget("/x?y=z", Method.PUT, {"A": "b"}, b"\x00\xff", Routing("s", "v", "i", "h"))),
        Draft(HttpTarget("https://a.test/", Method.PATCH, {"Ä": "ö"}, b"x", OidcToken("a@b.test", "c"))),
        Draft(HttpTarget("https://a.test/", token=OAuthToken("a@b.test")), "", START, timedelta(seconds=15.5)),
        Draft(HttpTarget("https://a.test/"), retry=RetryOverride(max_attempts=3, min_backoff=timedelta(seconds=0.1))),
    ],
    ids=str,
)
async def test_what_is_written_is_read(stored: tuple[_Failing, Queue], draft: Draft) -> None:
    """A task is read as it was made, every kind of target with all it may have."""
    storage, queue = stored
    made = await storage.insert(queue, draft, "one", START, _known)
    assert await storage.read(queue, "one", START) == made
    assert (made.target, made.retry, made.dispatch_deadline) == (draft.target, draft.retry, draft.dispatch_deadline)


async def test_a_late_outcome_does_not_touch_a_later_task(stored: tuple[_Failing, Queue]) -> None:
    """The outcome of a deleted task's dispatch is dropped, also when its name is in use again."""
    storage, queue = stored
    first = await storage.insert(queue, DRAFT, "one", START, _known)
    (taken,) = await storage.take(queue, [first.number], START, _known)
    await storage.delete(queue, "one", START, _known)
    second = await storage.insert(queue, DRAFT, "one", START + 2 * KEPT, _known)
    assert not await storage.finish(taken, START)
    assert not await storage.wait(taken)
    assert await storage.read(queue, "one", START) == second


async def test_a_task_is_taken_once(stored: tuple[_Failing, Queue]) -> None:
    """A task that is being dispatched is not taken a second time."""
    storage, queue = stored
    made = await storage.insert(queue, DRAFT, "one", START, _known)
    assert len(await storage.take(queue, [made.number, made.number], START, _known)) == 1
    assert await storage.take(queue, [made.number], START, _known) == []


async def test_names_are_forgotten_in_time(stored: tuple[_Failing, Queue]) -> None:
    """Names of gone tasks are forgotten after the hour, a thousand at a time, and none before."""
    storage, queue = stored
    await asyncio.gather(*(storage.insert(queue, DRAFT, f"t{number}", START, _known) for number in range(1200)))
    assert len(await storage.delete_some(queue, 1200, START)) == 1000
    assert len(await storage.delete_some(queue, 1200, START + KEPT)) == 200
    assert await storage.forget_names(START + KEPT / 2) == 0
    assert await storage.forget_names(START + KEPT) == 1000
    assert await storage.forget_names(START + KEPT) == 0
    assert await storage.forget_names(START + 2 * KEPT) == 200


@pytest.fixture
async def dispatching(stored: tuple[_Failing, Queue], target: Target) -> AsyncIterator[tuple[Dispatcher, Lane]]:
    """Give a dispatcher with the one queue, not started."""
    storage, queue = stored
    lane = Lane(queue, [], asyncio.get_running_loop().time())
    pace = Pace(now=lambda: START, chance=lambda: 1.0, clock_check=0.01)
    async with Sender.open(Address(target.url), ISSUER, lambda: START) as sender, Dispatcher.open(storage, sender, pace) as dispatcher:
        dispatcher.attach(lane)
        await storage.insert(queue, DRAFT, "one", START, lambda task: lane.add(task.number, START))
        yield dispatcher, lane


async def _gone(storage: TaskStorage, queue: Queue) -> None:
    while (await storage.page(queue, "", 1)).tasks:
        pass


async def test_a_task_that_could_not_be_taken_is_taken_later(
    stored: tuple[_Failing, Queue], dispatching: tuple[Dispatcher, Lane], target: Target
) -> None:
    """When the storage fails as a dispatch begins, nothing is sent until the beginning is written."""
    storage, queue = stored
    dispatcher, _ = dispatching
    storage.failures = 1
    dispatcher.start()
    seen = await target.arrived(1)
    assert seen.headers["X-AppEngine-TaskRetryCount"] == "0"
    await _gone(storage, queue)
    assert storage.failures < 0


async def test_an_end_that_could_not_be_written_is_written_later(
    stored: tuple[_Failing, Queue], dispatching: tuple[Dispatcher, Lane], target: Target
) -> None:
    """When the storage fails as a dispatch ends, the end is written later; the target sees one request."""
    storage, queue = stored
    dispatcher, lane = dispatching
    target.free.clear()
    dispatcher.start()
    await target.arrived(1)
    storage.failures = 1
    target.free.set()
    await _gone(storage, queue)
    await asyncio.sleep(0)
    assert (len(target.seen), lane.limiter.open) == (1, 0)
    assert storage.failures < 0


async def test_a_run_that_could_not_be_written_changes_nothing(
    stored: tuple[_Failing, Queue], dispatching: tuple[Dispatcher, Lane], target: Target
) -> None:
    """When the storage fails as a task is run by hand, its caller is told, and the task waits as before."""
    storage, queue = stored
    dispatcher, lane = dispatching
    task = await storage.read(queue, "one", START)
    storage.failures = 1
    with pytest.raises(RefusedError, match="the disk is full"):
        await dispatcher.run_now(lane, task)
    assert lane.limiter.open == 0
    dispatcher.start()
    await target.arrived(1)
