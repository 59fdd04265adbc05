"""Both clients against the whole of Longcall."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from google.api_core.client_options import ClientOptions
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from grpc import aio

from longcall import RetryPolicy, TaskFailed, WaitTimeout, cloud_task
from longcall.assembly import LaptopOptions, laptop
from longcall.core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from longcall.sdk.server import new_id
from tests.sdk.conftest import Connect
from tests.sdk.service import Service
from tests.sdk.states import ONCE, in_a_week
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


def answering(body: bytes, *headers: str, status: int = 200) -> Serve:
    """A target that says one thing."""

    async def answer(line: Line) -> None:
        await line.request()
        await line.answer(status, body, *headers)

    return answer


async def test_a_call_is_made_and_its_answer_read(connect: Connect, serve: Start, up: Service) -> None:
    """Submit, wait, and the target's JSON; the target got what was asked for."""
    target = await serve(answering(b'{"loss": 0.1}', "Content-Type: application/json"))
    client = await connect(up.api)
    task = await client.do("submit", target.url, json={"epochs": 40}, labels={"team": "ml"}, headers={"X-Run": "7"}, attempt_timeout="45m")
    done = await client.do("wait", of=task)
    assert (done.state, done.response.status, done.response.json(), done.attempt_count) == ("SUCCEEDED", 200, {"loss": 0.1}, 1)
    assert (done.labels, done.raw["attemptTimeout"]) == ({"team": "ml"}, "2700s")
    assert await client.content(done) == b'{"loss": 0.1}'
    assert done.response.sha256 == hashlib.sha256(b'{"loss": 0.1}').hexdigest()
    assert done.response.headers["Content-Type"] == "application/json"
    assert (target.seen[0].body, target.seen[0].headers["x-run"]) == (b'{"epochs":40}', "7")


async def test_a_failure_is_raised_with_its_reason(connect: Connect, serve: Start, up: Service) -> None:
    """TaskFailed carries the task, the reason, and the target's last answer."""
    target = await serve(answering(b"no way", status=500))
    client = await connect(up.api)
    task = await client.do("submit", target.url, retry=ONCE)
    with pytest.raises(TaskFailed, match="the target answered 500") as failed:
        await client.do("wait", of=task)
    assert (failed.value.failure.reason, failed.value.failure.may_have_run) == ("status", True)
    assert failed.value.task.attempts[0].status == 500
    unsent = await client.do("submit", "http://127.0.0.1:9/", retry=ONCE)
    with pytest.raises(TaskFailed) as failed:
        await client.do("wait", of=unsent)
    assert (failed.value.failure.reason, failed.value.failure.may_have_run) == ("unreachable", False)


async def test_a_wait_that_is_over_cancels_nothing(connect: Connect, serve: Start, up: Service) -> None:
    """WaitTimeout leaves the task running, and the next wait gets its end."""
    release = asyncio.Event()

    async def slow(line: Line) -> None:
        await line.request()
        await release.wait()
        await line.answer()

    client = await connect(up.api)
    task = await client.do("submit", (await serve(slow)).url)
    with pytest.raises(WaitTimeout) as over:
        await client.do("wait", timeout=timedelta(seconds=0.3), of=task)
    assert over.value.task.state in {"SCHEDULED", "RUNNING"}
    release.set()
    assert (await client.do("wait", task.id, timeout="10s")).state == "SUCCEEDED"


async def test_the_same_id_is_the_same_task(connect: Connect, serve: Start, up: Service) -> None:
    """Asked for twice it is called once; with other content it is refused."""
    target = await serve(well_behaved)
    client = await connect(up.api)
    name = new_id()
    first = await client.do("submit", target.url, id=name, json=[1])
    await client.do("wait", of=first)
    again = await client.do("submit", target.url, id=name, json=[1])
    assert (again.create_time, again.state, len(target.seen)) == (first.create_time, "SUCCEEDED", 1)
    with pytest.raises(AlreadyExistsError) as differs:
        await client.do("submit", target.url, id=name, json=[2])
    assert differs.value.differing == ("/httpRequest/body",)


async def test_what_the_server_refuses_is_pointed_at(connect: Connect, up: Service) -> None:
    """Every field that is wrong, at once."""
    client = await connect(up.api)
    with pytest.raises(InvalidArgumentError) as refused:
        await client.do("submit", "ftp://a", retry=RetryPolicy(max_attempts=0))
    assert {each.pointer for each in refused.value.errors} == {"/httpRequest/url", "/retry/maxAttempts"}
    with pytest.raises(NotFoundError):
        await client.do("get", "nothing-of-the-kind")


async def test_warnings_come_with_the_task(connect: Connect, up: Service) -> None:
    """A target that is known to give up sooner is said."""
    client = await connect(up.api)
    task = await client.do("submit", "https://train.run.app/x", auth="none", schedule_time=in_a_week())
    assert "Cloud Run" in task.warnings[0]
    assert (task.state, task.raw["httpRequest"]["auth"]) == ("SCHEDULED", "none")


async def test_a_list_goes_over_all_pages(connect: Connect, serve: Start, up: Service) -> None:
    """Seven tasks in pages of three, newest first, and filters that hold."""
    target = await serve(well_behaved)
    client = await connect(up.api)
    run = new_id()[:8]
    made = [(await client.do("submit", target.url, labels={"run": run})).id for _ in range(7)]
    assert [task.id for task in await client.listed(label=f"run:{run}", page_size=3)] == made[::-1]
    assert (
        await client.listed(label=f"run:{run}", state=["FAILED", "CANCELLED"], host="127.0.0.1", created_after="2020-01-01T00:00:00Z") == []
    )
    assert await client.listed(label="run:another") == []


@pytest.mark.parametrize(("body", "kind"), [(b"\x00\xff" * 100, "image/png"), (b"x" * 100_000, "text/plain"), (b"", "text/plain")])
async def test_every_body_comes_as_it_was(connect: Connect, serve: Start, up: Service, body: bytes, kind: str) -> None:
    """Small, large, empty, not text: the bytes of the target, from the task, by id, and in chunks."""
    target = await serve(answering(body, f"Content-Type: {kind}"))
    client = await connect(up.api)
    done = await client.do("wait", of=await client.do("submit", target.url))
    assert await client.content(done) == body
    assert (done.response.size, done.response.content) == (len(body), body)
    assert await client.do("response", done.id) == body
    assert b"".join(await client.stream(done.id)) == body


async def test_a_stream_of_nothing_is_not_found(connect: Connect, up: Service) -> None:
    """A task that does not exist has no body either."""
    client = await connect(up.api)
    with pytest.raises(NotFoundError):
        await client.stream("nothing-of-the-kind")


async def test_a_wait_outlives_a_restart(connect: Connect, serve: Start, tmp_path: Path, unused_tcp_port: int) -> None:
    """The server stops under a running call and comes back: the wait ends with the task's end."""

    async def slow_at_first(line: Line) -> None:
        await line.request()
        if len(line.seen) == 1:
            await line.gone()
        await line.answer(200, b"second time")

    target = await serve(slow_at_first)
    options = LaptopOptions(unused_tcp_port, 0, 0, tmp_path / "data")
    async with laptop(options) as running:
        client = await connect(running.api_url)
        task = await client.do("submit", target.url)
        waiting = asyncio.create_task(client.do("wait", timeout="30s", of=task))
        await asyncio.wait_for(target.called.wait(), 10)
    async with laptop(options):
        done = await waiting
    assert (done.state, done.response.text, [each.outcome for each in done.attempts]) == (
        "SUCCEEDED",
        "second time",
        ["interrupted", "response"],
    )


async def test_a_task_put_by_google_s_client_is_waited_for(connect: Connect, serve: Start, up: Service) -> None:
    """`cloud_task` on the queue, and the wait begins before Longcall has heard of it."""
    target = await serve(well_behaved)
    client = await connect(up.api)
    name = new_id()
    waiting = asyncio.create_task(client.do("wait", name, timeout="20s"))
    async with aio.insecure_channel(up.grpc) as channel:
        google = CloudTasksAsyncClient(
            transport=CloudTasksGrpcAsyncIOTransport(channel=channel), client_options=ClientOptions(quota_project_id=None)
        )
        await google.create_task(parent=up.queue, task=cloud_task(target.url, name=name, queue=up.queue, json={"n": 1}))
        done = await waiting
    assert (done.state, target.seen[0].body) == ("SUCCEEDED", b'{"n":1}')
