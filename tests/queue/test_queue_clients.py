from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

if TYPE_CHECKING:
    from tests.queue.conftest import Target

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
LATER = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


def _later(**more: object) -> tasks_v2.Task:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(LATER)
    request = tasks_v2.HttpRequest(url="http://target.test/x", body=b"\x00body", headers={"A": "b"})
    return tasks_v2.Task(http_request=request, schedule_time=stamp, **more)


async def test_the_sync_clients_do_tasks(sync_client: tasks_v2.CloudTasksClient) -> None:
    """Google's own client, over gRPC and over REST, creates, reads, lists and deletes tasks."""

    def calls() -> None:
        made = sync_client.create_task(parent=QUEUE, task=_later(name=f"{QUEUE}/tasks/one"))
        assert made.name == f"{QUEUE}/tasks/one"
        assert made.schedule_time == LATER
        assert made.view is tasks_v2.Task.View.BASIC
        assert made.http_request.body == b""
        request = tasks_v2.GetTaskRequest(name=made.name, response_view=tasks_v2.Task.View.FULL)
        full = sync_client.get_task(request=request)
        assert full.http_request.body == b"\x00body"
        assert full.http_request.http_method is tasks_v2.HttpMethod.POST
        assert [task.name for task in sync_client.list_tasks(parent=QUEUE)] == [made.name]
        sync_client.delete_task(name=made.name)
        with pytest.raises(exceptions.NotFound, match="The task no longer exists, though"):
            sync_client.get_task(name=made.name)

    await asyncio.to_thread(calls)


async def test_the_sync_clients_do_queues(sync_client: tasks_v2.CloudTasksClient) -> None:
    """Google's own client, over gRPC and over REST, makes, reads, changes, pauses and deletes queues."""
    name = f"{LOCATION}/queues/other"

    def calls() -> None:
        made = sync_client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=name))
        assert made.rate_limits.max_dispatches_per_second == 500
        assert made.rate_limits.max_concurrent_dispatches == 1000
        assert made.retry_config.max_attempts == 100
        assert made.retry_config.max_doublings == 16
        assert [queue.name for queue in sync_client.list_queues(parent=LOCATION)] == [name, QUEUE]
        made.rate_limits.max_dispatches_per_second = 5
        made.retry_config.max_attempts = 3
        mask = field_mask_pb2.FieldMask(paths=["rate_limits.max_dispatches_per_second"])
        changed = sync_client.update_queue(queue=made, update_mask=mask)
        assert (changed.rate_limits.max_dispatches_per_second, changed.retry_config.max_attempts) == (5, 100)
        assert sync_client.pause_queue(name=name).state is tasks_v2.Queue.State.PAUSED
        assert sync_client.resume_queue(name=name).state is tasks_v2.Queue.State.RUNNING
        assert sync_client.get_queue(name=name) == changed
        sync_client.delete_queue(name=name)
        with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
            sync_client.get_queue(name=name)

    await asyncio.to_thread(calls)


async def test_the_asyncio_client_does_tasks(client: tasks_v2.CloudTasksAsyncClient, target: Target) -> None:
    """Google's asyncio client creates a task, and the queue dispatches it at once."""
    request = tasks_v2.AppEngineHttpRequest(relative_uri="/work?x=%2F", body=b"hello")
    made = await client.create_task(parent=QUEUE, task=tasks_v2.Task(app_engine_http_request=request))
    seen = await target.arrived(1)
    assert (seen.method, seen.path, seen.body) == ("POST", "/work?x=%2F", b"hello")
    assert made.name == f"{QUEUE}/tasks/made-1"


async def test_lists_come_in_pages(client: tasks_v2.CloudTasksAsyncClient) -> None:
    """A list longer than its page is read through by the client's pager, every task once."""
    for number in range(7):
        await client.create_task(parent=QUEUE, task=_later(name=f"{QUEUE}/tasks/t{number}"))
    pager = await client.list_tasks(request=tasks_v2.ListTasksRequest(parent=QUEUE, page_size=3))
    sizes = [len(page.tasks) async for page in pager.pages]
    assert sizes == [3, 3, 1]
    pager = await client.list_tasks(request=tasks_v2.ListTasksRequest(parent=QUEUE, page_size=3))
    assert [task.name[-2:] async for task in pager] == [f"t{number}" for number in range(7)]


async def test_a_page_of_large_bodies_fits_in_a_message(client: tasks_v2.CloudTasksAsyncClient) -> None:
    """A full view of many large tasks comes in as many pages as gRPC's message limit asks for."""
    for number in range(50):
        task = _later(name=f"{QUEUE}/tasks/t{number}")
        task.http_request.body = bytes(100_000)
        await client.create_task(parent=QUEUE, task=task)
    request = tasks_v2.ListTasksRequest(parent=QUEUE, response_view=tasks_v2.Task.View.FULL)
    found = [len(task.http_request.body) async for task in await client.list_tasks(request=request)]
    assert found == [100_000] * 50


async def test_everything_of_a_task_comes_back(client: tasks_v2.CloudTasksAsyncClient) -> None:
    """Deadline, retry configuration, token and routing are kept and shown as they were given."""
    retry = tasks_v2.RetryConfig(max_attempts=3, min_backoff=duration_pb2.Duration(seconds=2))
    deadline = duration_pb2.Duration(seconds=1800)
    token = tasks_v2.OidcToken(service_account_email="a@b.test", audience="http://target.test")
    task = _later(retry_config=retry, dispatch_deadline=deadline)
    task.http_request.oidc_token = token
    made = await client.create_task(parent=QUEUE, task=task)
    assert made.retry_config == retry
    assert made.dispatch_deadline == timedelta(seconds=1800)
    assert made.http_request.oidc_token == token
    routed = tasks_v2.Task(
        app_engine_http_request=tasks_v2.AppEngineHttpRequest(app_engine_routing={"service": "worker"}),
        schedule_time=task.schedule_time,
    )
    shown = await client.create_task(parent=QUEUE, task=routed)
    assert shown.app_engine_http_request.app_engine_routing.service == "worker"
    assert shown.app_engine_http_request.relative_uri == "/"


async def test_update_makes_a_missing_queue(client: tasks_v2.CloudTasksAsyncClient) -> None:
    """UpdateQueue of a queue that does not exist makes it, as Cloud Tasks does."""
    name = f"{LOCATION}/queues/new"
    await client.update_queue(queue=tasks_v2.Queue(name=name, rate_limits={"max_concurrent_dispatches": 3}))
    assert (await client.get_queue(name=name)).rate_limits.max_concurrent_dispatches == 3


async def test_what_is_not_implemented_says_so(client: tasks_v2.CloudTasksAsyncClient) -> None:
    """A method the embedded queue does not have answers UNIMPLEMENTED."""
    with pytest.raises(exceptions.MethodNotImplemented):
        await client.test_iam_permissions(request={"resource": QUEUE, "permissions": ["x"]})
