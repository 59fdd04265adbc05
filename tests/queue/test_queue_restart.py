from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from longcall.queue import PortError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from longcall.queue import EmbeddedQueue
    from tests.queue.conftest import Clock, OpenQueue, Target

    Connect = Callable[[EmbeddedQueue], AbstractAsyncContextManager[tasks_v2.CloudTasksAsyncClient]]

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
APP_ENGINE: dict[str, Any] = {"app_engine_http_request": {"relative_uri": "/dispatch", "body": b"kept"}}

Client = tasks_v2.CloudTasksAsyncClient


async def _create(client: Client, task: dict[str, Any]) -> tasks_v2.Task:
    return await client.create_task(parent=QUEUE, task=tasks_v2.Task(task))


async def test_tasks_and_names_survive(open_queue: OpenQueue, connect: Connect, target: Target, clock: Clock) -> None:
    """Waiting tasks, used names, queues and their state are there after a restart."""
    due = START + timedelta(hours=1)
    async with open_queue() as queue, connect(queue) as client:
        await _create(client, APP_ENGINE | {"schedule_time": due, "name": f"{QUEUE}/tasks/one"})
        await _create(client, APP_ENGINE | {"schedule_time": due, "name": f"{QUEUE}/tasks/two"})
        await client.delete_task(name=f"{QUEUE}/tasks/two")
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=f"{LOCATION}/queues/other"))
        await client.pause_queue(name=f"{LOCATION}/queues/other")
        before = await client.get_task(name=f"{QUEUE}/tasks/one")
    async with open_queue() as queue, connect(queue) as client:
        queue.start_dispatching()
        assert await client.get_task(name=f"{QUEUE}/tasks/one") == before
        with pytest.raises(exceptions.AlreadyExists):
            await _create(client, APP_ENGINE | {"name": f"{QUEUE}/tasks/two"})
        other = await client.get_queue(name=f"{LOCATION}/queues/other")
        assert other.state is tasks_v2.Queue.State.PAUSED
        assert not target.seen
        clock.advance(hours=1)
        assert (await target.arrived(1)).body == b"kept"


async def test_counts_survive(open_queue: OpenQueue, connect: Connect, target: Target, clock: Clock) -> None:
    """A task that failed before a restart goes on counting after it, and keeps its wait."""
    target.answers.append(500)
    async with open_queue() as queue, connect(queue) as client:
        queue.start_dispatching()
        made = await _create(client, APP_ENGINE | {"retry_config": {"min_backoff": timedelta(seconds=10)}})
        while not (await client.get_task(name=made.name)).response_count:
            pass
    async with open_queue() as queue, connect(queue) as client:
        queue.start_dispatching()
        assert (await client.get_task(name=made.name)).schedule_time == START + timedelta(seconds=10)
        clock.advance(seconds=10)
        seen = await target.arrived(2)
    assert seen.headers["X-AppEngine-TaskRetryCount"] == "1"
    assert seen.headers["X-AppEngine-TaskExecutionCount"] == "1"
    assert seen.headers["X-AppEngine-TaskPreviousResponse"] == "500"


async def test_closing_drops_what_is_open(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """Closing does not wait for 300 open dispatches; each is delivered again at the next start, counted as unanswered."""
    target.free.clear()
    clock = asyncio.get_running_loop().time
    async with open_queue() as queue, connect(queue) as client:
        queue.start_dispatching()
        await asyncio.gather(*(_create(client, APP_ENGINE) for _ in range(300)))
        await target.arrived(300)
        began = clock()
    assert clock() - began < 0.5
    await target.left()
    async with open_queue() as queue:
        await asyncio.sleep(0)
        assert len(target.seen) == 300
        queue.start_dispatching()
        await target.arrived(600)
        target.free.set()
        await target.left()
    again = target.seen[300:]
    assert len({seen.headers["X-AppEngine-TaskName"] for seen in again}) == 300
    assert {seen.headers["X-AppEngine-TaskRetryCount"] for seen in again} == {"1"}
    assert {seen.headers["X-AppEngine-TaskExecutionCount"] for seen in again} == {"0"}
    assert {seen.headers["X-AppEngine-TaskRetryReason"] for seen in again} == {"Instance Unavailable"}


async def test_a_queue_that_exists_stays_as_it_is(open_queue: OpenQueue, connect: Connect) -> None:
    """What an operator changed about a queue is not undone by opening it again."""
    async with open_queue() as queue, connect(queue) as client:
        changed = tasks_v2.Queue(name=QUEUE, rate_limits={"max_concurrent_dispatches": 3})
        await client.update_queue(queue=changed)
    async with open_queue() as queue, connect(queue) as client:
        assert (await client.get_queue(name=QUEUE)).rate_limits.max_concurrent_dispatches == 3


async def test_a_deleted_queue_that_is_named_at_open_is_made_anew(open_queue: OpenQueue, connect: Connect) -> None:
    """A queue the program needs is there after the next start, empty, though it was deleted just before."""
    async with open_queue() as queue, connect(queue) as client:
        await _create(client, APP_ENGINE)
        await client.delete_queue(name=QUEUE)
    async with open_queue() as queue, connect(queue) as client:
        assert [task async for task in await client.list_tasks(parent=QUEUE)] == []


async def test_a_taken_port_is_named(open_queue: OpenQueue) -> None:
    """A port that something else listens on is named in the error, for gRPC and for REST."""
    async with open_queue() as queue:
        for ports in ({"grpc_port": queue.grpc_port}, {"rest_port": queue.rest_port}):
            with pytest.raises(PortError, match=str(*ports.values())):
                await open_queue(path=None, **ports).__aenter__()


async def test_a_purge_survives(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """A purge that had not removed everything when the queue stopped has done so after the next start, names and all."""
    due = START + timedelta(hours=1)
    names = [f"{QUEUE}/tasks/t{number}" for number in range(1100)]
    async with open_queue() as queue, connect(queue) as client:
        await asyncio.gather(*(_create(client, APP_ENGINE | {"schedule_time": due, "name": name}) for name in names))
        await client.purge_queue(name=QUEUE)
    async with open_queue() as queue, connect(queue) as client:
        assert [task async for task in await client.list_tasks(parent=QUEUE)] == []
        for name in (names[0], names[-1]):
            with pytest.raises(exceptions.AlreadyExists):
                await _create(client, APP_ENGINE | {"name": name})
    assert not target.seen


async def test_a_policy_survives(open_queue: OpenQueue, connect: Connect) -> None:
    """What SetIamPolicy gave a queue is there after a restart, and gone with the queue."""
    async with open_queue() as queue, connect(queue) as client:
        binding = {"role": "roles/viewer", "members": ["user:a@b.test"]}
        given = await client.set_iam_policy(request={"resource": QUEUE, "policy": {"bindings": [binding]}})
    async with open_queue() as queue, connect(queue) as client:
        assert await client.get_iam_policy(request={"resource": QUEUE}) == given
        await client.delete_queue(name=QUEUE)
    async with open_queue() as queue, connect(queue) as client:
        assert not (await client.get_iam_policy(request={"resource": QUEUE})).bindings


async def test_in_memory(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """Without a file everything works, and nothing is left behind."""
    async with open_queue(path=None) as queue, connect(queue) as client:
        queue.start_dispatching()
        await _create(client, APP_ENGINE | {"name": f"{QUEUE}/tasks/one"})
        await target.arrived(1)
    async with open_queue(path=None) as queue, connect(queue) as client:
        await _create(client, APP_ENGINE | {"name": f"{QUEUE}/tasks/one"})


_PROGRAM = """
import asyncio, itertools, sys, uvloop
from datetime import UTC, datetime
from pathlib import Path
from longcall.queue import EmbeddedQueue

async def main(path, app_engine, queue_name):
    ids = itertools.count(1)
    async with EmbeddedQueue.open(
        path=Path(path), grpc_port=0, rest_port=0, queues=[queue_name], app_engine=app_engine, secret=None,
        now=lambda: datetime(2026, 11, 24, 8, 0, tzinfo=UTC), new_id=lambda: f"made-{next(ids)}", chance=lambda: 0.5,
    ) as queue:
        queue.start_dispatching()
        print(queue.grpc_port, flush=True)
        await asyncio.Event().wait()

uvloop.run(main(*sys.argv[1:]))
"""


class _Process:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.grpc_port = port
        self._process = process

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@pytest.fixture
async def killable(tmp_path: Path, target: Target) -> AsyncIterator[_Process]:
    """Give a queue in a process of its own, over the file that ``open_queue`` opens."""
    arguments = (str(tmp_path / "queue.db"), target.url, QUEUE)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    killable = _Process(process, int(await process.stdout.readline()))
    yield killable
    await killable.kill()


async def test_a_killed_queue_delivers_again_at_once(killable: _Process, open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """After kill -9 no task is lost, and what was being dispatched goes out at once, the lost attempt counted."""
    target.free.clear()
    later = START + timedelta(hours=1)
    async with connect(killable) as client:  # type: ignore[arg-type] # only its port counts
        for number in range(20):
            await _create(client, APP_ENGINE | {"name": f"{QUEUE}/tasks/open-{number}"})
        await target.arrived(20)
        for number in range(5):
            await _create(client, APP_ENGINE | {"name": f"{QUEUE}/tasks/later-{number}", "schedule_time": later})
    await killable.kill()
    await target.left()
    async with open_queue() as queue, connect(queue) as client:
        names = [task.name.rpartition("/")[2] async for task in await client.list_tasks(parent=QUEUE)]
        assert sorted(names) == sorted([f"open-{n}" for n in range(20)] + [f"later-{n}" for n in range(5)])
        task = await client.get_task(name=f"{QUEUE}/tasks/open-1")
        assert task.last_attempt.response_status.message == "the queue stopped while this dispatch was open"
        queue.start_dispatching()
        await target.arrived(40)
        target.free.set()
        await target.left()
    again = target.seen[20:]
    assert {seen.headers["X-AppEngine-TaskRetryCount"] for seen in again} == {"1"}
    assert {seen.headers["X-AppEngine-TaskPreviousResponse"] for seen in again} == {"0"}
    assert len(again) == 20


async def test_a_kill_loses_nothing_that_was_answered(killable: _Process, open_queue: OpenQueue, connect: Connect) -> None:
    """After kill -9 in the midst of creates and deletes, what was answered holds: each task, and each name that stays used."""
    later = START + timedelta(hours=1)
    created: set[str] = set()
    deleted: set[str] = set()
    enough = asyncio.Event()

    async def work(client: Client, worker: int) -> None:
        for number in range(1000):
            name = f"{QUEUE}/tasks/w{worker}-{number}"
            await _create(client, APP_ENGINE | {"name": name, "schedule_time": later})
            created.add(name)
            if number % 3 == 0:
                await client.delete_task(name=name, retry=None)  # a retry would hide how it ended
                deleted.add(name)
            if len(deleted) > 100:
                enough.set()

    async with connect(killable) as client:  # type: ignore[arg-type] # only its port counts
        workers = [asyncio.create_task(work(client, worker)) for worker in range(16)]
        await enough.wait()
        await killable.kill()
        for ended in await asyncio.gather(*workers, return_exceptions=True):
            assert isinstance(ended, exceptions.ServiceUnavailable)
    async with open_queue() as queue, connect(queue) as client:
        there = {task.name async for task in await client.list_tasks(parent=QUEUE)}
        # One create and one delete of each worker may have been done without an answer.
        assert len(created - deleted - there) <= 16
        assert not deleted & there
        for name in deleted:
            with pytest.raises(exceptions.NotFound, match="The task no longer exists, though"):
                await client.get_task(name=name)
        for name in created - there:
            with pytest.raises(exceptions.AlreadyExists):
                await _create(client, APP_ENGINE | {"name": name})
