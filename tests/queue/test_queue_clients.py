from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

if TYPE_CHECKING:
    from tests.queue.conftest import AnyClient, Target

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


@pytest.fixture
def client(any_client: AnyClient) -> AnyClient:
    """Give every case here to every kind of client."""
    return any_client


def _later(**more: Any) -> tasks_v2.Task:  # noqa: ANN401 — a task's fields
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(LATER)
    request = tasks_v2.HttpRequest(url="http://target.test/x", body=b"\x00body", headers={"A": "b"})
    return tasks_v2.Task(http_request=request, schedule_time=stamp, **more)


async def test_tasks(client: AnyClient) -> None:
    """Google's client creates, reads, lists and deletes tasks, with bodies only when it asks for the full view."""
    made = await client.create_task(parent=QUEUE, task=_later(name=f"{QUEUE}/tasks/one"))
    assert made.name == f"{QUEUE}/tasks/one"
    assert made.schedule_time == LATER
    assert made.view is tasks_v2.Task.View.BASIC
    assert made.http_request.body == b""
    full = await client.get_task(request={"name": made.name, "response_view": tasks_v2.Task.View.FULL})
    assert full.http_request.body == b"\x00body"
    assert full.http_request.http_method is tasks_v2.HttpMethod.POST
    assert [task.http_request.body for task in await client.tasks(QUEUE)] == [b""]
    assert [task.http_request.body for task in await client.tasks(QUEUE, response_view=tasks_v2.Task.View.FULL)] == [b"\x00body"]
    await client.delete_task(name=made.name)
    with pytest.raises(exceptions.NotFound, match="The task no longer exists, though"):
        await client.get_task(name=made.name)


async def test_queues(client: AnyClient) -> None:
    """Google's client makes, reads, lists, changes, pauses and deletes queues."""
    name = f"{LOCATION}/queues/other"
    made = await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=name))
    assert made.rate_limits.max_dispatches_per_second == 500
    assert made.rate_limits.max_concurrent_dispatches == 1000
    assert made.rate_limits.max_burst_size == 100
    assert made.retry_config.max_attempts == 100
    assert made.retry_config.max_doublings == 16
    assert (made.retry_config.min_backoff, made.retry_config.max_backoff) == (timedelta(seconds=0.1), timedelta(hours=1))
    pages = await client.pages("list_queues", tasks_v2.ListQueuesRequest(parent=LOCATION, page_size=1))
    assert [[queue.name for queue in page.queues] for page in pages] == [[name], [QUEUE]]
    made.rate_limits.max_dispatches_per_second = 5
    made.retry_config.max_attempts = 3
    mask = field_mask_pb2.FieldMask(paths=["rate_limits.max_dispatches_per_second"])
    changed = await client.update_queue(queue=made, update_mask=mask)
    assert (changed.rate_limits.max_dispatches_per_second, changed.retry_config.max_attempts) == (5, 100)
    assert (await client.pause_queue(name=name)).state is tasks_v2.Queue.State.PAUSED
    assert (await client.resume_queue(name=name)).state is tasks_v2.Queue.State.RUNNING
    assert await client.get_queue(name=name) == changed
    assert (await client.purge_queue(name=name)).purge_time == START
    await client.delete_queue(name=name)
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        await client.get_queue(name=name)


async def test_an_update_without_a_mask_is_of_everything(client: AnyClient) -> None:
    """Without a mask what is not given goes back to its default, and a queue that is missing is made."""
    name = f"{LOCATION}/queues/new"
    await client.update_queue(queue=tasks_v2.Queue(name=name, rate_limits={"max_concurrent_dispatches": 3}))
    assert (await client.get_queue(name=name)).rate_limits.max_concurrent_dispatches == 3
    await client.update_queue(queue=tasks_v2.Queue(name=name, retry_config={"max_attempts": 7}))
    queue = await client.get_queue(name=name)
    assert (queue.rate_limits.max_concurrent_dispatches, queue.retry_config.max_attempts) == (1000, 7)


async def test_everything_of_a_queue_comes_back(client: AnyClient) -> None:
    """Routing override and the logging configuration are kept and shown, and go when an update leaves them out."""
    override = {"service": "worker", "version": "v2"}
    queue = tasks_v2.Queue(name=QUEUE, app_engine_routing_override=override, stackdriver_logging_config={"sampling_ratio": 0.5})
    await client.update_queue(queue=queue)
    shown = await client.get_queue(name=QUEUE)
    assert shown.app_engine_routing_override == tasks_v2.AppEngineRouting(override)
    assert shown.stackdriver_logging_config.sampling_ratio == 0.5
    shown = await client.update_queue(queue=tasks_v2.Queue(name=QUEUE))
    assert "app_engine_routing_override" not in shown
    assert "stackdriver_logging_config" not in shown


async def test_policies(client: AnyClient) -> None:
    """A policy is kept and given back; one that was read before another change is refused."""
    first = await client.get_iam_policy(request={"resource": QUEUE})
    assert (list(first.bindings), first.etag) == ([], b"\x00 \x01")
    binding = {"role": "roles/cloudtasks.enqueuer", "members": ["user:a@b.test"]}
    given = await client.set_iam_policy(request={"resource": QUEUE, "policy": {"bindings": [binding], "etag": first.etag}})
    assert await client.get_iam_policy(request={"resource": QUEUE}) == given
    assert [(each.role, list(each.members)) for each in given.bindings] == [(binding["role"], binding["members"])]
    with pytest.raises((exceptions.Aborted, exceptions.Conflict), match="There were concurrent policy changes"):
        await client.set_iam_policy(request={"resource": QUEUE, "policy": {"etag": first.etag}})
    empty = await client.set_iam_policy(request={"resource": QUEUE, "policy": {}})
    assert not empty.bindings
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        await client.get_iam_policy(request={"resource": f"{LOCATION}/queues/none"})


async def test_permissions(client: AnyClient) -> None:
    """Whoever asks may do everything to a queue that is there, and nothing to one that is not."""
    asked = {"resource": QUEUE, "permissions": ["cloudtasks.tasks.create"]}
    assert list((await client.test_iam_permissions(request=asked)).permissions) == ["cloudtasks.tasks.create"]
    none = {"resource": f"{LOCATION}/queues/none", "permissions": ["cloudtasks.tasks.create"]}
    assert list((await client.test_iam_permissions(request=none)).permissions) == []


async def test_locations(client: AnyClient) -> None:
    """The locations of a project are those where it has queues; any other can be used as well."""
    await client.create_queue(parent="projects/p/locations/m", queue=tasks_v2.Queue(name="projects/p/locations/m/queues/q"))
    found = await client.list_locations(request={"name": "projects/p"})
    assert [location.location_id for location in found.locations] == ["l", "m"]
    assert (await client.get_location(request={"name": "projects/p/locations/new"})).name == "projects/p/locations/new"


async def test_the_past_is_now(client: AnyClient) -> None:
    """A task without a time, and one whose time is over, have the present as theirs; creation is shown in whole seconds."""
    await client.pause_queue(name=QUEUE)
    for time in (None, START - timedelta(days=1)):
        made = await client.create_task(parent=QUEUE, task=tasks_v2.Task(http_request={"url": "http://x.test"}, schedule_time=time))
        assert made.schedule_time == START
        assert made.create_time == START


async def test_a_task_is_dispatched(client: AnyClient, target: Target) -> None:
    """Google's client creates a task, and the queue dispatches it at once."""
    request = tasks_v2.AppEngineHttpRequest(relative_uri="/work?x=%2F", body=b"hello")
    made = await client.create_task(parent=QUEUE, task=tasks_v2.Task(app_engine_http_request=request))
    seen = await target.arrived(1)
    assert (seen.method, seen.path, seen.body) == ("POST", "/work?x=%2F", b"hello")
    assert made.name == f"{QUEUE}/tasks/made-1"


async def test_a_run(client: AnyClient, target: Target) -> None:
    """A task is dispatched because somebody said so, and shown as it is after that."""
    made = await client.create_task(parent=QUEUE, task=tasks_v2.Task(app_engine_http_request={}, schedule_time=LATER))
    target.free.clear()
    run = await client.run_task(request={"name": made.name, "response_view": tasks_v2.Task.View.FULL})
    assert (run.dispatch_count, run.view) == (1, tasks_v2.Task.View.FULL)
    await target.arrived(1)
    target.free.set()


async def test_what_the_queue_does_with_headers_is_shown(client: AnyClient) -> None:
    """A task shows the headers as Cloud Tasks keeps them: names as given, what it sets, and nothing that it would drop."""
    own = {"X-Mixed-Case": "preserve-me", "content-type": "application/json", "X-Google-Mine": "no", "Host": "no"}
    http = tasks_v2.Task(http_request={"url": "http://x.test", "headers": own, "body": b"{}"}, schedule_time=LATER)
    made = await client.create_task(parent=QUEUE, task=http)
    kept = {"X-Mixed-Case": "preserve-me", "content-type": "application/json"}
    assert dict(made.http_request.headers) == kept | {"User-Agent": "Google-Cloud-Tasks"}
    agent = "AppEngine-Google; (+http://code.google.com/appengine)"
    engine = tasks_v2.Task(app_engine_http_request={"headers": own, "body": b"{}"}, schedule_time=LATER)
    made = await client.create_task(parent=QUEUE, task=engine)
    assert dict(made.app_engine_http_request.headers) == kept | {"User-Agent": agent, "Content-Length": "2"}
    plain = tasks_v2.Task(app_engine_http_request={"headers": {"User-Agent": "me"}, "body": b"{}"}, schedule_time=LATER)
    made = await client.create_task(parent=QUEUE, task=plain)
    defaults = {"Content-Type": "application/octet-stream", "Content-Length": "2"}
    assert dict(made.app_engine_http_request.headers) == defaults | {"User-Agent": f"me {agent}"}


async def test_lists_come_in_pages(client: AnyClient) -> None:
    """A list longer than its page is read through by the client's pager, every task once."""
    for number in range(7):
        await client.create_task(parent=QUEUE, task=_later(name=f"{QUEUE}/tasks/t{number}"))
    pages = await client.pages("list_tasks", tasks_v2.ListTasksRequest(parent=QUEUE, page_size=3))
    assert [[task.name[-2:] for task in page.tasks] for page in pages] == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]


async def test_a_page_of_large_bodies_fits_in_a_message(client: AnyClient) -> None:
    """A full view of many large tasks comes in as many pages as gRPC's message limit asks for."""
    for number in range(50):
        task = _later(name=f"{QUEUE}/tasks/t{number}")
        task.http_request.body = bytes(100_000)
        await client.create_task(parent=QUEUE, task=task)
    tasks = await client.tasks(QUEUE, response_view=tasks_v2.Task.View.FULL)
    assert [len(task.http_request.body) for task in tasks] == [100_000] * 50


async def test_everything_of_a_task_comes_back(client: AnyClient) -> None:
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
