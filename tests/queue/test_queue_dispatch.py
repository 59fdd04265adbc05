from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf.field_mask_pb2 import FieldMask

from longcall.queue import QueueConfig, QueueOptions, RateLimits, RetryConfig, checks
from longcall.queue.model import Routing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from longcall.queue import EmbeddedQueue
    from tests.queue.conftest import Clock, OpenQueue, Seen, Target

    Connect = Callable[[EmbeddedQueue], AbstractAsyncContextManager[tasks_v2.CloudTasksAsyncClient]]

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
APP_ENGINE: dict[str, Any] = {"app_engine_http_request": {"relative_uri": "/dispatch"}}

Client = tasks_v2.CloudTasksAsyncClient


async def _create(client: Client, parent: str, task: dict[str, Any]) -> tasks_v2.Task:
    return await client.create_task(parent=parent, task=tasks_v2.Task(task))


def _told(seen: Seen, prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in seen.headers.items() if name.startswith(prefix)}


async def _retried(target: Target, clock: Clock, count: int) -> Seen:
    while len(target.seen) < count:
        clock.advance(seconds=1)
        await asyncio.sleep(0.005)
    return await target.arrived(count)


async def test_the_headers_of_app_engine_dispatches(client: Client, target: Target, clock: Clock) -> None:
    """App Engine targets are told of every earlier answer, as Google's recordings show."""
    target.answers.extend([503, 404, 429, 500, 302, 200])
    await _create(client, QUEUE, APP_ENGINE | {"name": f"{QUEUE}/tasks/one"})
    await _retried(target, clock, 6)
    told = [_told(seen, "X-AppEngine-") for seen in target.seen]
    assert [one["TaskExecutionCount"] for one in told] == ["0", "1", "2", "3", "4", "5"]
    assert [one["TaskRetryCount"] for one in told] == ["0", "1", "2", "3", "4", "5"]
    assert [one.get("TaskPreviousResponse") for one in told] == [None, "503", "404", "429", "500", "302"]
    assert [one.get("TaskRetryReason") for one in told] == [None, *["App Error"] * 5]
    assert {(one["QueueName"], one["TaskName"]) for one in told} == {("q", "one")}
    assert float(told[0]["TaskETA"]) == START.timestamp()
    assert target.seen[0].headers["User-Agent"] == "AppEngine-Google; (+http://code.google.com/appengine)"


async def test_the_headers_of_http_dispatches(client: Client, target: Target, clock: Clock) -> None:
    """HTTP targets are told of earlier answers but those of 500 and more, as Google's recordings show."""
    target.answers.extend([503, 404, 429, 500, 302, 200])
    await _create(client, QUEUE, {"http_request": {"url": f"{target.url}/x"}})
    await _retried(target, clock, 6)
    told = [_told(seen, "X-CloudTasks-") for seen in target.seen]
    assert [one["TaskExecutionCount"] for one in told] == ["0", "0", "1", "2", "2", "3"]
    assert [one["TaskRetryCount"] for one in told] == ["0", "1", "2", "3", "4", "5"]
    assert [one.get("TaskPreviousResponse") for one in told] == [None, "503", "404", "429", "500", "302"]
    assert [one.get("TaskRetryReason") for one in told] == [None, *[""] * 5]
    assert target.seen[0].headers["User-Agent"] == "Google-Cloud-Tasks"
    assert "Content-Type" not in target.seen[0].headers


@pytest.mark.parametrize(
    ("task", "prefix", "previous", "reason"),
    [
        ("app_engine_http_request", "X-AppEngine-", "0", "Instance Unavailable"),
        ("http_request", "X-CloudTasks-", "504", ""),
    ],
)
async def test_a_passed_deadline(
    client: Client,
    target: Target,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    prefix: str,
    previous: str,
    reason: str,
) -> None:
    """At the deadline the queue stops listening, tries again, and says that the first delivery never answered."""
    monkeypatch.setattr(checks, "_SHORTEST_DEADLINE", timedelta(0))
    target.free.clear()
    request = {"url": target.url} if task == "http_request" else {}
    deadline = timedelta(milliseconds=100)
    made = await _create(client, QUEUE, {task: request, "dispatch_deadline": deadline})
    await target.arrived(1)
    await target.left()
    target.free.set()
    told = _told(await _retried(target, clock, 2), prefix)
    assert (told["TaskPreviousResponse"], told["TaskRetryReason"]) == (previous, reason)
    assert (told["TaskRetryCount"], told["TaskExecutionCount"]) == ("1", "0")
    assert made.dispatch_count == 0


async def test_reserved_headers_are_the_queues(client: Client, target: Target) -> None:
    """Headers that tell who sends a dispatch can't be set by a task; all others arrive as given."""
    own = {"X-AppEngine-QueueName": "evil", "x-cloudtasks-taskname": "evil", "Host": "evil.test", "X-Mine": "kept"}
    own |= {"longcall-queue-secret": "evil", "Content-Type": "text/plain", "Content-Length": "3"}
    await _create(client, QUEUE, {"app_engine_http_request": {"headers": own, "body": b"hello"}})
    seen = await target.arrived(1)
    assert "evil" not in " ".join(seen.headers.values())
    assert (seen.headers["X-Mine"], seen.headers["Content-Type"], seen.body) == ("kept", "text/plain", b"hello")
    assert seen.headers["Longcall-Queue-Secret"] == "known to both"


async def test_the_secret_goes_to_app_engine_only(client: Client, target: Target) -> None:
    """An HTTP target never sees the secret, be it at App Engine's own address."""
    await _create(client, QUEUE, {"http_request": {"url": target.url}})
    assert "Longcall-Queue-Secret" not in (await target.arrived(1)).headers


async def test_nothing_is_added_to_a_request(client: Client, target: Target) -> None:
    """A task without headers of its own arrives with the queue's alone."""
    await _create(client, QUEUE, {"http_request": {"url": target.url, "http_method": "GET"}})
    names = {name for name in (await target.arrived(1)).headers if not name.startswith("X-CloudTasks-")}
    assert names == {"Host", "User-Agent"}


async def test_no_cookies_and_no_redirects(client: Client, target: Target, clock: Clock) -> None:
    """A redirect is an answer that is no success, and a cookie is not kept."""
    target.answer_headers.update({"Location": "/elsewhere", "Set-Cookie": "a=b"})
    target.answers.append(302)
    await _create(client, QUEUE, APP_ENGINE)
    seen = await _retried(target, clock, 2)
    assert seen.path == "/dispatch"
    assert "Cookie" not in seen.headers


async def test_a_task_waits_for_its_time(client: Client, target: Target, clock: Clock) -> None:
    """A scheduled task is dispatched when its time comes, not before, and tells that time."""
    due = START + timedelta(hours=2)
    await _create(client, QUEUE, APP_ENGINE | {"schedule_time": due, "name": f"{QUEUE}/tasks/late"})
    clock.advance(hours=1)
    await _create(client, QUEUE, APP_ENGINE | {"name": f"{QUEUE}/tasks/now"})
    assert (await target.arrived(1)).headers["X-AppEngine-TaskName"] == "now"
    clock.advance(hours=1)
    seen = await target.arrived(2)
    assert float(seen.headers["X-AppEngine-TaskETA"]) == due.timestamp()


async def test_nobody_polls(open_queue: OpenQueue, connect: Connect, target: Target, signing_key: str) -> None:
    """A due task goes out at once and a scheduled one at its time, though the clock is looked at once a minute only."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    def now() -> datetime:
        return START + timedelta(seconds=loop.time() - began)

    options = QueueOptions(clock_check=60, signing_key=signing_key)
    async with open_queue(now=now, options=options) as queue, connect(queue) as client:
        queue.start_dispatching()
        await _create(client, QUEUE, APP_ENGINE | {"schedule_time": now() + timedelta(hours=1)})
        await _create(client, QUEUE, APP_ENGINE | {"name": f"{QUEUE}/tasks/now"})
        assert (await target.arrived(1)).headers["X-AppEngine-TaskName"] == "now"
        due = now() + timedelta(seconds=0.2)
        await _create(client, QUEUE, APP_ENGINE | {"schedule_time": due, "name": f"{QUEUE}/tasks/soon"})
        assert (await target.arrived(2)).headers["X-AppEngine-TaskName"] == "soon"
        assert due <= now() < due + timedelta(seconds=10)


async def test_the_wait_before_a_retry(client: Client, target: Target, clock: Clock) -> None:
    """A failed task waits as its own retry configuration says, and shows how its last attempt ended."""
    target.answers.extend([500, 404])
    retry = {"min_backoff": timedelta(seconds=10)}
    made = await _create(client, QUEUE, APP_ENGINE | {"retry_config": retry})
    await target.arrived(1)
    while (task := await client.get_task(name=made.name)).response_count == 0:
        pass
    assert task.schedule_time == START + timedelta(seconds=10)
    assert task.first_attempt.dispatch_time == START
    assert task.last_attempt.response_status.code == 13
    assert task.last_attempt.response_status.message == "INTERNAL(13): HTTP status code 500"
    clock.advance(seconds=10)
    await target.arrived(2)
    while (task := await client.get_task(name=made.name)).response_count == 1:
        pass
    assert task.schedule_time == START + timedelta(seconds=30)
    assert task.dispatch_count == 2


async def test_a_task_is_given_up(client: Client, target: Target, clock: Clock) -> None:
    """After the last attempt allowed a task is gone, whatever the answer."""
    target.answers.extend([500] * 9)
    await _create(client, QUEUE, APP_ENGINE | {"retry_config": {"max_attempts": 2}})
    await _retried(target, clock, 2)
    while [task async for task in await client.list_tasks(parent=QUEUE)]:
        pass
    assert len(target.seen) == 2


async def test_without_an_app_engine_address(open_queue: OpenQueue, connect: Connect) -> None:
    """Without an address for App Engine targets their dispatch fails, says why, and is tried again."""
    async with open_queue(app_engine=None) as queue, connect(queue) as client:
        queue.start_dispatching()
        made = await _create(client, QUEUE, APP_ENGINE)
        while not (task := await client.get_task(name=made.name)).last_attempt.response_status.code:
            pass
    assert task.last_attempt.response_status.message == "no address is configured for App Engine targets"
    assert (task.dispatch_count, task.response_count) == (1, 0)


async def test_nothing_is_dispatched_before_the_start(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """Tasks are taken in before start_dispatching, and go out after it."""
    async with open_queue() as queue, connect(queue) as client:
        made = await _create(client, QUEUE, APP_ENGINE)
        assert (await client.get_task(name=made.name)).dispatch_count == 0
        assert not target.seen
        queue.start_dispatching()
        await target.arrived(1)


async def test_concurrency_is_kept(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """Never more dispatches of a queue are open than it allows, and a place set free is used."""
    target.free.clear()
    config = QueueConfig(QUEUE, rates=RateLimits(max_concurrent_dispatches=3))
    async with open_queue(queues=[config]) as queue, connect(queue) as client:
        queue.start_dispatching()
        for _ in range(10):
            await _create(client, QUEUE, APP_ENGINE)
        await target.arrived(3)
        await _create(client, QUEUE, APP_ENGINE)
        assert len(target.seen) == 3
        target.free.set()
        await target.arrived(11)
    assert target.most_open == 3


async def test_the_rate_is_kept(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """After the burst, dispatches follow each other at the queue's rate."""
    config = QueueConfig(QUEUE, rates=RateLimits(max_dispatches_per_second=50, max_burst_size=5))
    async with open_queue(queues=[config]) as queue, connect(queue) as client:
        for _ in range(15):
            await _create(client, QUEUE, APP_ENGINE)
        clock = asyncio.get_running_loop().time
        began = clock()
        queue.start_dispatching()
        await target.arrived(15)
        assert clock() - began >= 10 / 50


async def test_two_queues_do_not_wait_for_each_other(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """A queue whose places are all taken holds no other queue up."""
    target.free.clear()
    other = f"{LOCATION}/queues/other"
    config = QueueConfig(QUEUE, rates=RateLimits(max_concurrent_dispatches=1))
    async with open_queue(queues=[config, other]) as queue, connect(queue) as client:
        queue.start_dispatching()
        for _ in range(2):
            await _create(client, QUEUE, APP_ENGINE)
        await target.arrived(1)
        await _create(client, other, APP_ENGINE)
        assert (await target.arrived(2)).headers["X-AppEngine-QueueName"] == "other"
        target.free.set()


async def test_a_queues_own_retry_settings(open_queue: OpenQueue, connect: Connect, target: Target, clock: Clock) -> None:
    """A queue opened with its own configuration retries by it, without an end if that says so."""
    retry = RetryConfig(max_attempts=-1, min_backoff=timedelta(seconds=1), max_backoff=timedelta(seconds=30), max_doublings=5)
    target.answers.extend([429] * 120)
    async with open_queue(queues=[QueueConfig(QUEUE, retry=retry)]) as queue, connect(queue) as client:
        queue.start_dispatching()
        await _create(client, QUEUE, APP_ENGINE)
        while len(target.seen) < 121:
            clock.advance(seconds=30)
            await asyncio.sleep(0.002)
        await target.left()


async def test_deleting_a_task_on_its_way(client: Client, target: Target, clock: Clock) -> None:
    """The running dispatch of a deleted task goes on, and its failure brings nothing back."""
    target.free.clear()
    target.answers.append(500)
    made = await _create(client, QUEUE, APP_ENGINE)
    await target.arrived(1)
    await client.delete_task(name=made.name)
    assert target.open == 1
    target.free.set()
    await target.left()
    clock.advance(hours=1)
    await _create(client, QUEUE, APP_ENGINE)
    assert (await target.arrived(2)).headers["X-AppEngine-TaskName"] == "made-2"


async def test_deleting_a_queue_on_its_way(client: Client, target: Target) -> None:
    """The running dispatches of a deleted queue go on; nothing of it is dispatched again."""
    target.free.clear()
    target.answers.append(500)
    await _create(client, QUEUE, APP_ENGINE)
    await target.arrived(1)
    await client.delete_queue(name=QUEUE)
    assert target.open == 1
    target.free.set()
    await target.left()
    assert len(target.seen) == 1


async def test_a_deleted_waiting_task_is_not_dispatched(client: Client, target: Target, clock: Clock) -> None:
    """A task deleted before its time never goes out."""
    due = START + timedelta(hours=1)
    made = await _create(client, QUEUE, APP_ENGINE | {"schedule_time": due})
    await client.delete_task(name=made.name)
    clock.advance(hours=1)
    await _create(client, QUEUE, APP_ENGINE)
    assert (await target.arrived(1)).headers["X-AppEngine-TaskName"] == "made-2"


async def test_pause_and_resume(client: Client, target: Target) -> None:
    """A paused queue takes tasks and dispatches none until it is resumed."""
    await client.pause_queue(name=QUEUE)
    made = await _create(client, QUEUE, APP_ENGINE)
    assert (await client.get_task(name=made.name)).dispatch_count == 0
    assert not target.seen
    await client.resume_queue(name=QUEUE)
    await target.arrived(1)


async def test_purge(client: Client, target: Target, clock: Clock) -> None:
    """A purge deletes what was created until then, more than one transaction's worth, and nothing later."""
    due = START + timedelta(hours=1)
    async with asyncio.TaskGroup() as group:
        for _ in range(1200):
            group.create_task(_create(client, QUEUE, APP_ENGINE | {"schedule_time": due}))
    assert (await client.purge_queue(name=QUEUE)).purge_time == START
    clock.advance(seconds=1)
    made = await _create(client, QUEUE, APP_ENGINE | {"schedule_time": due})
    assert [task.name async for task in await client.list_tasks(parent=QUEUE)] == [made.name]
    clock.advance(hours=1)
    await target.arrived(1)


async def test_run_goes_before_everything(client: Client, target: Target) -> None:
    """RunTask dispatches a task before its time and in a paused queue."""
    await client.pause_queue(name=QUEUE)
    due = START + timedelta(hours=1)
    made = await _create(client, QUEUE, APP_ENGINE | {"schedule_time": due})
    run = await client.run_task(name=made.name)
    assert run.dispatch_count == 1
    await target.arrived(1)


async def test_run_goes_past_the_limits(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """RunTask dispatches a task though every place of its queue is taken and no token is left."""
    target.free.clear()
    config = QueueConfig(QUEUE, rates=RateLimits(max_dispatches_per_second=0.001, max_burst_size=1, max_concurrent_dispatches=1))
    async with open_queue(path=None, queues=[config]) as queue, connect(queue) as client:
        queue.start_dispatching()
        await _create(client, QUEUE, APP_ENGINE)
        made = await _create(client, QUEUE, APP_ENGINE)
        await target.arrived(1)
        assert (await client.run_task(name=made.name)).dispatch_count == 1
        await target.arrived(2)
        target.free.set()


async def test_run_does_not_double_an_open_dispatch(client: Client, target: Target) -> None:
    """RunTask of a task that is being dispatched leaves it at that."""
    target.free.clear()
    made = await _create(client, QUEUE, APP_ENGINE)
    await target.arrived(1)
    assert (await client.run_task(name=made.name)).dispatch_count == 1
    target.free.set()
    await target.left()
    assert len(target.seen) == 1


async def test_a_post_without_a_body_has_a_length(client: Client, target: Target) -> None:
    """A POST without a body says so by Content-Length 0, which many servers ask for."""
    await _create(client, QUEUE, APP_ENGINE)
    seen = await target.arrived(1)
    assert (seen.headers["Content-Length"], seen.headers.get("Content-Type")) == ("0", None)


async def test_a_target_that_is_not_there(client: Client, clock: Clock) -> None:
    """A refused connection is an attempt without an answer, and says what happened."""
    made = await _create(client, QUEUE, {"http_request": {"url": "http://127.0.0.1:1/"}})
    while not (task := await client.get_task(name=made.name)).last_attempt.response_status.code:
        pass
    assert task.last_attempt.response_status.code == 14
    assert "Cannot connect to host 127.0.0.1:1" in task.last_attempt.response_status.message
    assert (task.dispatch_count, task.response_count) == (1, 0)
    assert task.schedule_time == clock() + timedelta(milliseconds=100)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_broken_connection_is_not_retried_in_secret(client: Client, clock: Clock, method: str) -> None:
    """When a kept connection breaks under a request, it is sent again only by the retry rules, and counted."""
    retry_counts: list[str] = []
    broken, again = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""):
            retry_counts.append(head.decode().partition("X-CloudTasks-TaskRetryCount: ")[2].partition("\r")[0])
            if len(retry_counts) == 2:
                broken.set()
                break
            if len(retry_counts) == 3:
                again.set()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for name in ("first", "second"):
            task = {"http_request": {"url": url, "http_method": method}, "name": f"{QUEUE}/tasks/{name}"}
            await _create(client, QUEUE, task)
            while name == "first" and [task async for task in await client.list_tasks(parent=QUEUE)]:
                pass
        await broken.wait()
        while not (task_now := await client.get_task(name=f"{QUEUE}/tasks/second")).last_attempt.response_status.code:
            pass
        assert (task_now.dispatch_count, task_now.response_count) == (1, 0)
        assert retry_counts == ["0", "0"]
        clock.advance(seconds=1)
        await again.wait()
        assert retry_counts == ["0", "0", "1"]
        while [task async for task in await client.list_tasks(parent=QUEUE)]:
            pass


async def test_pausing_while_dispatches_are_under_way(client: Client, target: Target, clock: Clock) -> None:
    """A pause lets open dispatches go on; one that fails is tried again only after the queue is resumed."""
    target.free.clear()
    target.answers.append(500)
    made = await _create(client, QUEUE, APP_ENGINE)
    await target.arrived(1)
    await client.pause_queue(name=QUEUE)
    target.free.set()
    while not (await client.get_task(name=made.name)).response_count:
        pass
    clock.advance(hours=1)
    await asyncio.sleep(0.05)
    assert len(target.seen) == 1
    await client.resume_queue(name=QUEUE)
    await target.arrived(2)


async def test_changes_at_once_are_all_made(client: Client) -> None:
    """A pause, a purge and two updates of different fields that come together don't undo each other."""
    rates = tasks_v2.Queue(name=QUEUE, rate_limits={"max_concurrent_dispatches": 7})
    retry = tasks_v2.Queue(name=QUEUE, retry_config={"max_attempts": 9})
    await asyncio.gather(
        client.pause_queue(name=QUEUE),
        client.update_queue(queue=rates, update_mask=FieldMask(paths=["rate_limits.max_concurrent_dispatches"])),
        client.purge_queue(name=QUEUE),
        client.update_queue(queue=retry, update_mask=FieldMask(paths=["retry_config.max_attempts"])),
    )
    queue = await client.get_queue(name=QUEUE)
    assert queue.state is tasks_v2.Queue.State.PAUSED
    assert "purge_time" in queue
    assert (queue.rate_limits.max_concurrent_dispatches, queue.retry_config.max_attempts) == (7, 9)


async def test_a_queue_with_wider_limits_can_be_changed(open_queue: OpenQueue, connect: Connect) -> None:
    """A queue that its program gave more than Google's quotas keeps that when something else about it is changed."""
    config = QueueConfig(QUEUE, rates=RateLimits(max_dispatches_per_second=10_000))
    async with open_queue(path=None, queues=[config]) as queue, connect(queue) as client:
        changed = tasks_v2.Queue(name=QUEUE, retry_config={"max_attempts": 9})
        mask = FieldMask(paths=["retry_config"])
        assert (await client.update_queue(queue=changed, update_mask=mask)).rate_limits.max_dispatches_per_second == 10_000


async def test_a_purge_is_over_at_once(client: Client, target: Target, clock: Clock) -> None:
    """From its answer on no purged task is seen, run or dispatched, and its name stays used; a clock set back loses nothing."""
    due = START + timedelta(minutes=10)
    tasks = [APP_ENGINE | {"schedule_time": due, "name": f"{QUEUE}/tasks/t{number}"} for number in range(50)]
    await asyncio.gather(*(_create(client, QUEUE, task) for task in tasks))
    await client.purge_queue(name=QUEUE)
    assert [task async for task in await client.list_tasks(parent=QUEUE)] == []
    for call in (client.get_task, client.run_task, client.delete_task):
        with pytest.raises(exceptions.NotFound, match="The task no longer exists"):
            await call(name=f"{QUEUE}/tasks/t1")
    with pytest.raises(exceptions.AlreadyExists):
        await _create(client, QUEUE, tasks[1])
    clock.advance(hours=-1)
    await _create(client, QUEUE, APP_ENGINE | {"schedule_time": due, "name": f"{QUEUE}/tasks/after"})
    clock.advance(hours=2)
    assert (await target.arrived(1)).headers["X-AppEngine-TaskName"] == "after"
    await target.left()
    assert len(target.seen) == 1


async def test_a_purged_dispatch_goes_on(client: Client, target: Target, clock: Clock) -> None:
    """What is being dispatched at a purge goes on, and its failure brings nothing back."""
    target.free.clear()
    target.answers.append(500)
    await _create(client, QUEUE, APP_ENGINE)
    await target.arrived(1)
    await client.purge_queue(name=QUEUE)
    assert target.open == 1
    target.free.set()
    await target.left()
    clock.advance(hours=1)
    await _create(client, QUEUE, APP_ENGINE)
    assert (await target.arrived(2)).headers["X-AppEngine-TaskName"] == "made-2"


async def test_nothing_is_tried_for_longer_than_31_days(open_queue: OpenQueue, connect: Connect, target: Target, clock: Clock) -> None:
    """A task without a limit to its attempts is deleted when it fails after Cloud Tasks' retention."""
    retry = RetryConfig(max_attempts=-1, min_backoff=timedelta(days=16), max_backoff=timedelta(days=16))
    target.answers.extend([500] * 9)
    async with open_queue(path=None, queues=[QueueConfig(QUEUE, retry=retry)]) as queue, connect(queue) as client:
        queue.start_dispatching()
        made = await _create(client, QUEUE, APP_ENGINE)
        for count in (1, 2):
            while (await client.get_task(name=made.name)).response_count < count:
                pass
            clock.advance(days=16)
        while [task async for task in await client.list_tasks(parent=QUEUE)]:
            pass
    assert len(target.seen) == 3


async def test_an_override_of_routing_changes_no_address(open_queue: OpenQueue, connect: Connect, target: Target) -> None:
    """All services are at one address: with an override and without, App Engine tasks go there."""
    config = QueueConfig(QUEUE, routing_override=Routing(service="override"))
    async with open_queue(path=None, queues=[config]) as queue, connect(queue) as client:
        queue.start_dispatching()
        task = {"app_engine_http_request": {"relative_uri": "/w", "app_engine_routing": {"service": "own"}}}
        await _create(client, QUEUE, task)
        assert (await target.arrived(1)).path == "/w"
