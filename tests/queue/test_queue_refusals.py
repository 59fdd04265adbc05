from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf.field_mask_pb2 import FieldMask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longcall.queue import EmbeddedQueue
    from tests.queue.conftest import AnyClient, Clock, Connect, Target

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
MISSING_QUEUE = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
GONE = "The task no longer exists, though a task with this name existed recently. The task either successfully completed or was deleted."
URL = "http://target.test/"
REFERENCE = "https://cloud.google.com/tasks/docs/reference/rest/v2"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HELD = {"http_request": {"url": URL}, "schedule_time": START + timedelta(days=1)}

NAME = 'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".'


@pytest.fixture
def client(any_client: AnyClient) -> AnyClient:
    """Give every case here to every kind of client."""
    return any_client


async def _create(client: AnyClient, parent: str, task: dict[str, Any]) -> tasks_v2.Task:
    made: tasks_v2.Task = await client.create_task(parent=parent, task=tasks_v2.Task(task))
    return made


@contextmanager
def refused(code: str, text: str = "") -> Iterator[None]:
    """Expect a refusal by its google.rpc.Code and its text; REST's client has the code in the answer's body."""
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        yield
    error = caught.value
    if isinstance(error.response, requests.Response):
        shown = error.response.json()["error"]
    else:
        assert error.grpc_status_code is not None
        shown = {"status": error.grpc_status_code.name, "message": error.message}
    assert (shown["status"], shown["message"]) == (code, text or shown["message"])


async def _refused(client: AnyClient, code: str, text: str, task: dict[str, Any]) -> None:
    with refused(code, text):
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
            f"The queue name from request ('{QUEUE}') must be the same as the queue name in the named task ('{LOCATION}/queues/q2').",
        ),
        ({"http_request": {"url": ""}}, "HttpRequest.url is required."),
        ({"http_request": {"url": "ftp://x"}}, "HttpTarget.url must start with 'http://' or 'https://'."),
        ({"http_request": {"url": "example.com/path"}}, "HttpTarget.url must start with 'http://' or 'https://'."),
        ({"http_request": {"url": URL, "body": bytes(102_400)}}, "Task size too large"),
        ({"http_request": {"url": URL}, "dispatch_deadline": timedelta(seconds=14)}, "Task.dispatchDeadline must be between [15s, 30m]."),
        ({"http_request": {"url": URL}, "dispatch_deadline": timedelta(minutes=31)}, "Task.dispatchDeadline must be between [15s, 30m]."),
        ({"app_engine_http_request": {}, "dispatch_deadline": timedelta(hours=25)}, "Task.dispatchDeadline must be between [15s, 24h15s]."),
        (
            {"http_request": {"url": URL}, "schedule_time": datetime(2100, 1, 1, tzinfo=UTC)},
            (
                "The Task.scheduleTime, 2099-12-31T16:00:00-08:00, is too far in the future. "
                "Schedule time must be no more than 720h in the future."
            ),
        ),
    ],
)
async def test_bad_tasks_word_for_word(client: AnyClient, task: dict[str, Any], text: str) -> None:
    """A bad task is refused in the very words of Cloud Tasks, on which programs rely."""
    await _refused(client, "INVALID_ARGUMENT", text, task)


@pytest.mark.parametrize(
    "task",
    [
        {},
        {"http_request": {"url": URL + "x" * 2083}},
        {"http_request": {"url": URL + " x"}},
        {"http_request": {"url": URL, "http_method": "GET", "body": b"x"}},
        {"http_request": {"url": URL, "headers": {"a": "b\r\nc: d"}}},
        {"http_request": {"url": URL, "headers": {"a b": "c"}}},
        {"http_request": {"url": URL}, "dispatch_deadline": timedelta(seconds=1801)},
        {"http_request": {"url": URL}, "schedule_time": START + timedelta(days=30, seconds=1)},
        {"http_request": {"url": URL}, "retry_config": {"max_attempts": -2}},
        {"http_request": {"url": URL}, "retry_config": {"min_backoff": timedelta(hours=2)}},
        {"app_engine_http_request": {"relative_uri": "@elsewhere.test/"}},
        {"app_engine_http_request": {"http_method": "PATCH", "body": b"x"}},
        {"app_engine_http_request": {}, "dispatch_deadline": timedelta(seconds=86_416)},
    ],
)
async def test_bad_tasks_are_refused(client: AnyClient, task: dict[str, Any]) -> None:
    """What Cloud Tasks would not take is not taken here, so that it is found before it is deployed."""
    with refused("INVALID_ARGUMENT"):
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
async def test_tasks_at_the_limits_are_taken(client: AnyClient, task: dict[str, Any]) -> None:
    """What lies just within the limits is taken."""
    await _create(client, QUEUE, task | {"schedule_time": START + timedelta(days=30)})


async def test_a_used_name_stays_used_for_an_hour(client: AnyClient, clock: Clock) -> None:
    """A name in use, and one deleted within the hour, answer ALREADY_EXISTS; after that it is free."""
    task = HELD | {"name": f"{QUEUE}/tasks/one"}
    await _create(client, QUEUE, task)
    await _refused(client, "ALREADY_EXISTS", "Requested entity already exists", task)
    await client.delete_task(name=f"{QUEUE}/tasks/one")
    clock.advance(minutes=59)
    await _refused(client, "ALREADY_EXISTS", "Requested entity already exists", task)
    clock.advance(minutes=2)
    await _create(client, QUEUE, task)


async def test_a_finished_name_stays_used(client: AnyClient, target: Target) -> None:
    """The name of a task that was done can't be used again at once, and the task no longer exists."""
    name = f"{QUEUE}/tasks/one"
    target.free.clear()
    await _create(client, QUEUE, {"app_engine_http_request": {}, "name": name})
    await target.arrived(1)
    await client.get_task(name=name)
    target.free.set()
    await target.left()
    while await client.tasks(QUEUE):
        pass
    with refused("NOT_FOUND", GONE):
        await client.get_task(name=name)
    await _refused(client, "ALREADY_EXISTS", "Requested entity already exists", HELD | {"name": name})


async def test_a_task_that_never_was(client: AnyClient) -> None:
    """Reading, deleting and running a task that never existed is NOT_FOUND, in Cloud Tasks' words."""
    name = f"{QUEUE}/tasks/never"
    for call in (client.get_task, client.delete_task, client.run_task):
        with refused("NOT_FOUND", "Requested entity was not found."):
            await call(name=name)


async def test_a_queue_that_is_not_there(client: AnyClient) -> None:
    """Every call on a queue that does not exist is NOT_FOUND, in Cloud Tasks' words."""
    name = f"{LOCATION}/queues/none"
    for call in (client.get_queue, client.pause_queue, client.resume_queue, client.purge_queue):
        with refused("NOT_FOUND", MISSING_QUEUE):
            await call(name=name)
    with refused("NOT_FOUND", MISSING_QUEUE):
        await _create(client, name, HELD)
    with refused("NOT_FOUND", MISSING_QUEUE):
        await client.list_tasks(parent=name)
    with refused("NOT_FOUND", "Requested entity was not found."):
        await client.delete_queue(name=name)


async def test_queue_names(client: AnyClient, clock: Clock) -> None:
    """A queue's name must be well-formed, unused, and not deleted in the last days."""
    with refused("INVALID_ARGUMENT", NAME):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": f"{LOCATION}/queues/under_score"}))
    with refused("INVALID_ARGUMENT", f"{LOCATION}/queues/q3 must begin with projects/p/locations/other."):
        await client.create_queue(parent="projects/p/locations/other", queue=tasks_v2.Queue({"name": f"{LOCATION}/queues/q3"}))
    with refused("ALREADY_EXISTS", "Queue already exists"):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))
    await client.delete_queue(name=QUEUE)
    recent = "The queue cannot be created because a queue with this name existed too recently."
    with refused("FAILED_PRECONDITION", recent):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))
    clock.advance(days=3, seconds=1)
    await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))


async def test_a_new_queue_has_nothing_of_its_namesake(client: AnyClient, clock: Clock) -> None:
    """A queue made again has neither the tasks nor the used names of the one before."""
    task = HELD | {"name": f"{QUEUE}/tasks/one"}
    await _create(client, QUEUE, task)
    await client.delete_queue(name=QUEUE)
    clock.advance(days=4)
    await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": QUEUE}))
    assert await client.tasks(QUEUE) == []
    await _create(client, QUEUE, HELD | {"name": f"{QUEUE}/tasks/one"})


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rate_limits": {"max_dispatches_per_second": 501}}, "RateLimits.maxDispatchesPerSecond must be less than or equal to 500."),
        ({"rate_limits": {"max_dispatches_per_second": -1}}, "RateLimits.maxDispatchesPerSecond cannot be negative."),
        ({"rate_limits": {"max_concurrent_dispatches": 5001}}, "RateLimits.maxConcurrentDispatches must be less than or equal to 5000."),
        ({"rate_limits": {"max_concurrent_dispatches": -1}}, "RateLimits.maxConcurrentDispatches cannot be negative."),
        ({"retry_config": {"max_attempts": -2}}, "RetryConfig.maxAttempts must be greater or equal to -1."),
        ({"retry_config": {"max_doublings": -1}}, "RetryConfig.maxDoublings cannot be negative."),
        ({"retry_config": {"min_backoff": timedelta(seconds=-1)}}, "RetryConfig.minBackoff cannot be negative."),
        (
            {"retry_config": {"min_backoff": timedelta(seconds=2), "max_backoff": timedelta(seconds=1)}},
            "RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.",
        ),
    ],
)
async def test_bad_queues_word_for_word(client: AnyClient, settings: dict[str, Any], text: str) -> None:
    """A bad queue is refused in the very words of Cloud Tasks, when it is made and when it is changed."""
    with refused("INVALID_ARGUMENT", text):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": f"{LOCATION}/queues/new", **settings}))
    with refused("INVALID_ARGUMENT", text):
        await client.update_queue(queue=tasks_v2.Queue({"name": QUEUE, **settings}))


@pytest.mark.parametrize(
    "settings",
    [{"rate_limits": {"max_dispatches_per_second": float("nan")}}, {"retry_config": {"max_backoff": timedelta(days=366)}}],
)
async def test_bad_queue_settings_are_refused(client: AnyClient, settings: dict[str, Any]) -> None:
    """What no clock can keep is refused."""
    with refused("INVALID_ARGUMENT"):
        await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue({"name": f"{LOCATION}/queues/new", **settings}))


async def test_the_burst_is_the_queues_own(client: AnyClient) -> None:
    """A burst size is output only: what a client sends, be it negative, is ignored."""
    queue = tasks_v2.Queue({"name": f"{LOCATION}/queues/new", "rate_limits": {"max_burst_size": -1}})
    assert (await client.create_queue(parent=LOCATION, queue=queue)).rate_limits.max_burst_size == 100


@pytest.mark.parametrize(
    ("name", "description", "field"),
    [
        (f"{LOCATION}/queues/q/tasks/not a valid id", "Definition of task ID", "projects.locations.queues.tasks#Task.FIELDS.name"),
        (f"{LOCATION}/queues/under_score/tasks/t", "Definition of queue name", "projects.locations.queues#Queue.FIELDS.name"),
    ],
)
async def test_bad_names_are_explained(client: AnyClient, name: str, description: str, field: str) -> None:
    """The refusal of a name has a link to where Google explains names, as the real service's has."""
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        await client.get_task(name=name)
    (detail,) = caught.value.details
    # REST's client gives the JSON as it came.
    links = detail["links"] if isinstance(detail, dict) else [{"description": link.description, "url": link.url} for link in detail.links]
    assert links == [{"description": description, "url": f"{REFERENCE}/{field}"}]


async def test_an_update_with_a_mask(client: AnyClient) -> None:
    """An update mask needs paths that exist, leaves alone what only the queue may set, and makes a missing queue too."""
    with refused("INVALID_ARGUMENT", "The update mask has a path that is no field of a queue: nonsense."):
        await client.update_queue(queue=tasks_v2.Queue(name=QUEUE), update_mask=FieldMask(paths=["nonsense"]))
    paused = tasks_v2.Queue(name=QUEUE, state=tasks_v2.Queue.State.PAUSED)
    assert (await client.update_queue(queue=paused, update_mask=FieldMask(paths=["state"]))).state.name == "RUNNING"
    new = tasks_v2.Queue(name=f"{LOCATION}/queues/new")
    assert (await client.update_queue(queue=new, update_mask=FieldMask(paths=["retry_config"]))).name == new.name
    with refused("INVALID_ARGUMENT", "The update mask has a path that is no field of a queue: nonsense."):
        await client.update_queue(queue=tasks_v2.Queue(name=f"{LOCATION}/queues/newer"), update_mask=FieldMask(paths=["nonsense"]))


async def test_names_that_are_none(queue: EmbeddedQueue, connect: Connect) -> None:
    """A name of the wrong form says what form is right; over REST it is no path, and Google's client does not send it."""
    task_name = 'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>".'
    async with connect(queue) as client:
        with refused("INVALID_ARGUMENT", task_name):
            await client.get_task(name=QUEUE)
        with refused("INVALID_ARGUMENT", 'Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".'):
            await client.list_queues(parent="projects/p")
        with refused("INVALID_ARGUMENT", 'Project name must be formatted: "projects/<PROJECT_ID>".'):
            await client.list_locations(request={"name": "p"})
        with refused("INVALID_ARGUMENT", NAME):
            await client.update_queue(queue=tasks_v2.Queue(name="q"), update_mask=FieldMask(paths=["retry_config"]))


async def test_lists_that_can_not_be_given(client: AnyClient) -> None:
    """A negative page size is refused, and a filter of queues is not implemented."""
    with refused("INVALID_ARGUMENT", "The page size must not be negative."):
        await client.list_tasks(request=tasks_v2.ListTasksRequest(parent=QUEUE, page_size=-1))
    with refused("UNIMPLEMENTED", "The embedded queue does not implement filters of queues."):
        await client.list_queues(request=tasks_v2.ListQueuesRequest(parent=LOCATION, filter="state: PAUSED"))


async def test_what_is_not_implemented_says_so_by_name(client: AnyClient) -> None:
    """Batch verbs, keys of one's own and HTTP targets of queues answer UNIMPLEMENTED and say what they are."""
    calls = {
        "BatchCreateTasks": client.batch_create_tasks(request={"parent": QUEUE, "requests": []}),
        "BatchDeleteTasks": client.batch_delete_tasks(request={"parent": QUEUE, "names": []}),
        "GetCmekConfig": client.get_cmek_config(request={"name": f"{LOCATION}/cmekConfig"}),
        "UpdateCmekConfig": client.update_cmek_config(request={"cmek_config": {"name": f"{LOCATION}/cmekConfig"}}),
        "Queue.httpTarget": client.update_queue(queue=tasks_v2.Queue({"name": QUEUE, "http_target": {"http_method": "POST"}})),
    }
    for name, call in calls.items():
        with refused("UNIMPLEMENTED", f"The embedded queue does not implement {name}."):
            await call
