from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf.field_mask_pb2 import FieldMask

if TYPE_CHECKING:
    from tests.queue.conftest import Clock, Target

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
MISSING_QUEUE = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
GONE = "The task no longer exists, though a task with this name existed recently. The task either successfully completed or was deleted."
URL = "http://target.test/"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HELD = {"http_request": {"url": URL}, "schedule_time": START + timedelta(days=1)}

Client = tasks_v2.CloudTasksAsyncClient


async def _create(client: Client, parent: str, task: dict[str, Any]) -> tasks_v2.Task:
    return await client.create_task(parent=parent, task=tasks_v2.Task(task))


async def _refused(client: Client, kind: type[exceptions.GoogleAPICallError], text: str, task: dict[str, Any]) -> None:
    with pytest.raises(kind, match=re.escape(text) + "$"):
        await _create(client, QUEUE, task)


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (
            {"http_request": {"url": URL}, "name": f"{QUEUE}/tasks/a.b"},
            (
                'Task ID "a.b" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_). '
                "Task ID must between 1 and 500 characters."
            ),
        ),
        (
            {"http_request": {"url": URL}, "name": f"{LOCATION}/queues/q2/tasks/t"},
            "The queue name from request ('q') must be the same as the queue name in the named task ('q2').",
        ),
        ({"http_request": {"url": ""}}, "HttpRequest.url is required."),
        ({"http_request": {"url": "ftp://x"}}, "HttpTarget.url must start with 'http://' or 'https://'."),
    ],
)
async def test_refusals_word_for_word(client: Client, task: dict[str, Any], text: str) -> None:
    """A bad task is refused in the very words of Cloud Tasks, on which programs rely."""
    await _refused(client, exceptions.InvalidArgument, text, task)


@pytest.mark.parametrize(
    "task",
    [
        {},
        {"http_request": {"url": URL + "x" * 2083}},
        {"http_request": {"url": URL + " x"}},
        {"http_request": {"url": URL, "body": bytes(102_400)}},
        {"http_request": {"url": URL, "http_method": "GET", "body": b"x"}},
        {"http_request": {"url": URL, "headers": {"a": "b\r\nc: d"}}},
        {"http_request": {"url": URL, "headers": {"a b": "c"}}},
        {"http_request": {"url": URL}, "dispatch_deadline": timedelta(seconds=14)},
        {"http_request": {"url": URL}, "dispatch_deadline": timedelta(seconds=1801)},
        {"http_request": {"url": URL}, "schedule_time": START + timedelta(days=30, seconds=1)},
        {"http_request": {"url": URL}, "retry_config": {"max_attempts": -2}},
        {"app_engine_http_request": {"relative_uri": "@elsewhere.test/"}},
        {"app_engine_http_request": {"http_method": "PATCH", "body": b"x"}},
        {"app_engine_http_request": {}, "dispatch_deadline": timedelta(seconds=86_416)},
    ],
)
async def test_bad_tasks_are_refused(client: Client, task: dict[str, Any]) -> None:
    """What Cloud Tasks would not take is not taken here, so that it is found before it is deployed."""
    with pytest.raises(exceptions.InvalidArgument):
        await _create(client, QUEUE, task)


@pytest.mark.parametrize(
    "task",
    [
        {"http_request": {"url": URL, "http_method": "PATCH", "body": bytes(102_000)}},
        {"http_request": {"url": URL}, "dispatch_deadline": timedelta(minutes=30)},
        {"http_request": {"url": URL, "http_method": "DELETE"}},
        {"app_engine_http_request": {"http_method": "PUT", "body": b"x"}},
        {"app_engine_http_request": {}, "dispatch_deadline": timedelta(seconds=86_415)},
        {"app_engine_http_request": {}, "dispatch_deadline": timedelta(0)},
    ],
)
async def test_tasks_at_the_limits_are_taken(client: Client, task: dict[str, Any]) -> None:
    """What lies just within the limits is taken."""
    await _create(client, QUEUE, task | {"schedule_time": START + timedelta(days=30)})


async def test_a_used_name_stays_used_for_an_hour(client: Client, clock: Clock) -> None:
    """A name in use, and one deleted within the hour, answer ALREADY_EXISTS; after that it is free."""
    task = HELD | {"name": f"{QUEUE}/tasks/one"}
    await _create(client, QUEUE, task)
    await _refused(client, exceptions.AlreadyExists, "Requested entity already exists", task)
    await client.delete_task(name=f"{QUEUE}/tasks/one")
    clock.advance(minutes=59)
    await _refused(client, exceptions.AlreadyExists, "Requested entity already exists", task)
    clock.advance(minutes=2)
    await _create(client, QUEUE, task)


async def test_a_finished_name_stays_used(client: Client, target: Target) -> None:
    """The name of a task that was done can't be used again at once, and the task no longer exists."""
    name = f"{QUEUE}/tasks/one"
    target.free.clear()
    await _create(client, QUEUE, {"app_engine_http_request": {}, "name": name})
    await target.arrived(1)
    await client.get_task(name=name)
    target.free.set()
    await target.left()
    while [task async for task in await client.list_tasks(parent=QUEUE)]:
        pass
    with pytest.raises(exceptions.NotFound, match=re.escape(GONE)):
        await client.get_task(name=name)
    await _refused(client, exceptions.AlreadyExists, "Requested entity already exists", HELD | {"name": name})


async def test_a_task_that_never_was(client: Client) -> None:
    """Reading, deleting and running a task that never existed is NOT_FOUND, in Cloud Tasks' words."""
    name = f"{QUEUE}/tasks/never"
    for call in (client.get_task, client.delete_task, client.run_task):
        with pytest.raises(exceptions.NotFound, match=r"Requested entity was not found\.$"):
            await call(name=name)


async def test_a_queue_that_is_not_there(client: Client) -> None:
    """Every call on a queue that does not exist is NOT_FOUND, in Cloud Tasks' words."""
    name = f"{LOCATION}/queues/none"
    for call in (client.get_queue, client.pause_queue, client.purge_queue):
        with pytest.raises(exceptions.NotFound, match=re.escape(MISSING_QUEUE) + "$"):
            await call(name=name)
    with pytest.raises(exceptions.NotFound, match=re.escape(MISSING_QUEUE) + "$"):
        await _create(client, name, HELD)
    with pytest.raises(exceptions.NotFound, match=re.escape(MISSING_QUEUE) + "$"):
        await client.list_tasks(parent=name)
    with pytest.raises(exceptions.NotFound, match=r"Requested entity was not found\.$"):
        await client.delete_queue(name=name)


async def test_queue_names(client: Client, clock: Clock) -> None:
    """A queue's name must be well-formed, unused, and not deleted in the last days."""
    bad = 'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".'
    with pytest.raises(exceptions.InvalidArgument, match=re.escape(bad)):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": f"{LOCATION}/queues/under_score"}))
    with pytest.raises(exceptions.InvalidArgument):
        await client.create_queue(parent="projects/p/locations/other", queue=tasks_v2.Queue({"name": f"{LOCATION}/queues/q3"}))
    with pytest.raises(exceptions.AlreadyExists, match=r"Queue already exists$"):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))
    await client.delete_queue(name=QUEUE)
    recent = r"The queue cannot be created because a queue with this name existed too recently\.$"
    with pytest.raises(exceptions.FailedPrecondition, match=recent):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))
    clock.advance(days=3, seconds=1)
    await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))


async def test_a_new_queue_has_nothing_of_its_namesake(client: Client, clock: Clock) -> None:
    """A queue made again has neither the tasks nor the used names of the one before."""
    task = HELD | {"name": f"{QUEUE}/tasks/one"}
    await _create(client, QUEUE, task)
    await client.delete_queue(name=QUEUE)
    clock.advance(days=4)
    await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))
    assert [task async for task in await client.list_tasks(parent=QUEUE)] == []
    await _create(client, QUEUE, HELD | {"name": f"{QUEUE}/tasks/one"})


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limits": {"max_dispatches_per_second": 501}},
        {"rate_limits": {"max_dispatches_per_second": -1}},
        {"rate_limits": {"max_concurrent_dispatches": 5001}},
        {"retry_config": {"max_attempts": -2}},
        {"retry_config": {"min_backoff": timedelta(seconds=2), "max_backoff": timedelta(seconds=1)}},
        {"retry_config": {"max_backoff": timedelta(days=366)}},
        {"http_target": {"http_method": "POST"}},
    ],
)
async def test_bad_queue_settings_are_refused(client: Client, settings: dict[str, Any]) -> None:
    """Limits beyond Cloud Tasks' quotas, and what the embedded queue can't do, are refused."""
    with pytest.raises(exceptions.InvalidArgument):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": f"{LOCATION}/queues/new", **settings}))


async def test_an_update_with_a_mask(client: Client) -> None:
    """An update mask needs paths that exist, leaves alone what only the queue may set, and makes a missing queue too."""
    with pytest.raises(exceptions.InvalidArgument, match="no field of a queue: nonsense"):
        await client.update_queue(queue=tasks_v2.Queue(name=QUEUE), update_mask=FieldMask(paths=["nonsense"]))
    paused = tasks_v2.Queue(name=QUEUE, state=tasks_v2.Queue.State.PAUSED)
    assert (await client.update_queue(queue=paused, update_mask=FieldMask(paths=["state"]))).state.name == "RUNNING"
    new = tasks_v2.Queue(name=f"{LOCATION}/queues/new")
    assert (await client.update_queue(queue=new, update_mask=FieldMask(paths=["retry_config"]))).name == new.name


async def test_names_that_are_none(client: Client) -> None:
    """A name of the wrong form is INVALID_ARGUMENT wherever it stands, and says what form is right."""
    with pytest.raises(exceptions.InvalidArgument, match="Task name must be formatted"):
        await client.get_task(name=QUEUE)
    with pytest.raises(exceptions.InvalidArgument, match="Location name must be formatted"):
        await client.list_queues(parent="projects/p")
    with pytest.raises(exceptions.InvalidArgument, match="Queue name must be formatted"):
        await client.update_queue(queue=tasks_v2.Queue(name="q"), update_mask=FieldMask(paths=["retry_config"]))


async def test_lists_that_can_not_be_given(client: Client) -> None:
    """A negative page size is refused, and a filter of queues is not implemented."""
    with pytest.raises(exceptions.InvalidArgument, match="page size"):
        await client.list_tasks(request=tasks_v2.ListTasksRequest(parent=QUEUE, page_size=-1))
    with pytest.raises(exceptions.MethodNotImplemented, match="does not filter"):
        await client.list_queues(request=tasks_v2.ListQueuesRequest(parent=LOCATION, filter="state: PAUSED"))
