"""Cancel, retry, forget, requeue and callbacks: both clients against the whole of Longcall."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from longcall import Callback, FailedPreconditionError, NoResponseError, NotFoundError, TaskCancelled, TaskFailed, Told, webhooks
from longcall.sdk.server import new_id
from tests.sdk.conftest import Client, Connect
from tests.sdk.service import Service
from tests.sdk.states import HOURLY, ONCE, bring, hanging, in_a_week, until
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


async def failing_once(line: Line) -> None:
    """Answer 500, and from then on 200."""
    await line.request()
    await line.answer(500 if len(line.seen) == 1 else 200)


async def told(client: Client, task_id: str, *states: str) -> tuple[Told, ...]:
    """What became of a task's callbacks, once these are their states."""

    async def have_come() -> bool:
        return tuple(each.state for each in (await client.do("get", task_id)).callbacks) == states

    await until(have_come)
    return tuple((await client.do("get", task_id)).callbacks)


@pytest.mark.parametrize("state", ["SCHEDULED", "WAITING", "CANCELLED"])
async def test_what_waits_is_cancelled_at_once(connect: Connect, serve: Start, up: Service, state: str) -> None:
    """The answer has the end already, and asking again changes nothing."""
    client, task_id = await connect(up.api), await bring(up.api, serve, state)
    cancelled = await client.do("cancel", task_id)
    again = await client.do("cancel", of=cancelled)
    assert (cancelled.state, again.state, again.version) == ("CANCELLED", "CANCELLED", cancelled.version)
    with pytest.raises(TaskCancelled):
        await client.do("wait", of=cancelled)


async def test_a_running_call_is_closed_by_a_cancel(connect: Connect, serve: Start, up: Service) -> None:
    """It is asked to stop, and the target sees its connection go."""
    closed = asyncio.Event()

    async def watched(line: Line) -> None:
        await hanging(line)
        closed.set()

    target = await serve(watched)
    client = await connect(up.api)
    task = await client.do("submit", target.url)
    await asyncio.wait_for(target.called.wait(), 10)
    asked = await client.do("cancel", of=task)
    assert (asked.state, asked.raw["cancelRequestTime"] is not None) == ("RUNNING", True)
    with pytest.raises(TaskCancelled):
        await client.do("wait", of=asked, timeout="10s")
    await asyncio.wait_for(closed.wait(), 10)


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED"])
async def test_what_is_over_can_not_be_cancelled(connect: Connect, serve: Start, up: Service, state: str) -> None:
    """The server's sentence says which end it has."""
    client, task_id = await connect(up.api), await bring(up.api, serve, state)
    with pytest.raises(FailedPreconditionError, match=f"{task_id} has {state}, so there is nothing to cancel"):
        await client.do("cancel", task_id)


async def test_a_failed_task_runs_again_with_its_history(connect: Connect, serve: Start, up: Service) -> None:
    """A fresh budget, both attempts in one history, and the same Idempotency-Key for the target."""
    target = await serve(failing_once)
    client = await connect(up.api)
    task = await client.do("submit", target.url, retry=ONCE)
    with pytest.raises(TaskFailed):
        await client.do("wait", of=task)
    again = await client.do("retry", of=task)
    assert (again.state in {"WAITING", "RUNNING", "SUCCEEDED"}, again.failure) == (True, None)
    done = await client.do("wait", of=again, timeout="10s")
    assert [(each.number, each.status) for each in done.attempts] == [(1, 500), (2, 200)]
    assert len({each.headers["idempotency-key"] for each in target.seen}) == 1


async def test_a_cancelled_task_runs_again(connect: Connect, serve: Start, up: Service) -> None:
    """Whoever cancelled too much can have it after all."""
    target = await serve(well_behaved)
    client = await connect(up.api)
    task = await client.do("submit", target.url, schedule_time=in_a_week())
    await client.do("cancel", of=task)
    assert (await client.do("wait", of=await client.do("retry", task.id), timeout="10s")).state == "SUCCEEDED"


async def test_a_waiting_task_runs_now(connect: Connect, serve: Start, up: Service) -> None:
    """The hour that its policy has it wait is cut short."""
    target = await serve(failing_once)
    client = await connect(up.api)
    task = await client.do("submit", target.url, retry=HOURLY)

    async def waits() -> bool:
        return str((await client.do("refresh", of=task)).state) == "WAITING"

    await until(waits)
    done = await client.do("wait", of=await client.do("retry", of=task), timeout="10s")
    assert (done.state, len(target.seen)) == ("SUCCEEDED", 2)


async def test_what_succeeded_or_runs_is_not_run_again(connect: Connect, serve: Start, up: Service) -> None:
    """A success is FailedPreconditionError; a running task is left as it is."""
    client = await connect(up.api)
    with pytest.raises(FailedPreconditionError, match="can't be run again"):
        await client.do("retry", await bring(up.api, serve, "SUCCEEDED"))
    running = await client.do("get", await bring(up.api, serve, "RUNNING"))
    assert (await client.do("retry", running.id)) == running


async def test_an_ended_task_can_be_forgotten(connect: Connect, serve: Start, up: Service) -> None:
    """It is gone; what has not ended stays, and what is not there is not found."""
    client = await connect(up.api)
    gone, there = await bring(up.api, serve, "FAILED"), await bring(up.api, serve, "SCHEDULED")
    assert await client.do("forget", gone) is None
    with pytest.raises(NotFoundError):
        await client.do("get", gone)
    with pytest.raises(NotFoundError):
        await client.do("forget", gone)
    with pytest.raises(FailedPreconditionError, match="cancel it first"):
        await client.do("forget", there)


@pytest.mark.parametrize("verb", ["cancel", "retry", "forget"])
async def test_what_is_not_there_is_not_found(connect: Connect, up: Service, verb: str) -> None:
    """An id that nobody has."""
    with pytest.raises(NotFoundError, match="nothing-of-the-kind"):
        await (await connect(up.api)).do(verb, "nothing-of-the-kind")


async def test_each_end_is_told_and_can_be_verified(connect: Connect, serve: Start, up: Service) -> None:
    """A task that fails, is run again and succeeds calls back twice: signed by the folder's secret, with the task as a value."""
    receiver, target = await serve(well_behaved), await serve(failing_once)
    client = await connect(up.api)
    task = await client.do("submit", target.url, id=f"told-{new_id()}", retry=ONCE, callback=receiver.url)
    with pytest.raises(TaskFailed):
        await client.do("wait", of=task)
    await told(client, task.id, "SUCCEEDED")
    await client.do("wait", of=await client.do("retry", of=task), timeout="10s")
    callbacks = await told(client, task.id, "SUCCEEDED", "SUCCEEDED")
    failed, succeeded = (webhooks.verify(each.headers, each.body, up.secret) for each in receiver.seen)
    assert [(each.event, each.task_id) for each in callbacks] == [("failed", failed.id), ("succeeded", succeeded.id)]
    assert (failed.type, failed.task.id, failed.task.failure and failed.task.failure.reason) == ("task.failed", task.id, "status")
    assert (succeeded.type, succeeded.task.response.text, succeeded.task.attempt_count) == ("task.succeeded", "ok", 2)
    assert succeeded.timestamp == succeeded.task.finish_time


async def test_a_callback_asks_for_what_it_wants(connect: Connect, serve: Start, up: Service) -> None:
    """Only of failures, with a header of its own: a success is not told."""
    receiver, target = await serve(well_behaved), await serve(well_behaved)
    client = await connect(up.api)
    wanted = Callback(receiver.url, on=("failed",), headers={"X-Team": "ml"})
    done = await client.do("wait", of=await client.do("submit", target.url, callback=wanted), timeout="10s")
    failed = await bring(up.api, serve, "FAILED", callback=wanted)
    await told(client, failed, "SUCCEEDED")
    assert (done.callbacks, [each.headers["x-team"] for each in receiver.seen]) == ((), ["ml"])


async def test_a_requeue_tells_what_was_not_told(connect: Connect, serve: Start, up: Service) -> None:
    """An end without its callback is named by a dry run, and told by a requeue."""
    receiver = await serve(well_behaved)
    client = await connect(up.api)
    task_id = await bring(up.api, serve, "FAILED", callback=receiver.url)
    (first,) = await told(client, task_id, "SUCCEEDED")
    await client.do("forget", first.task_id)
    assert task_id in (await client.do("requeue", dry_run=True)).untold
    assert len(receiver.seen) == 1
    assert task_id in (await client.do("requeue")).untold
    await told(client, task_id, "SUCCEEDED")
    assert len(receiver.seen) == 2
    assert task_id not in (await client.do("requeue", dry_run=True)).untold


async def test_a_callback_that_failed_can_be_run_again(connect: Connect, serve: Start, up: Service) -> None:
    """A callback is a task: a receiver that said 410 by mistake gets it after all."""

    async def gone_at_first(line: Line) -> None:
        await line.request()
        await line.answer(410 if len(line.seen) == 1 else 200)

    receiver = await serve(gone_at_first)
    client = await connect(up.api)
    task_id = await bring(up.api, serve, "FAILED", callback=receiver.url)
    (refused,) = await told(client, task_id, "FAILED")
    await client.do("retry", refused.task_id)
    await told(client, task_id, "SUCCEEDED")
    assert {each.headers["webhook-id"] for each in receiver.seen} == {refused.task_id}


async def test_a_task_without_an_answer_says_so(connect: Connect, up: Service) -> None:
    """`response` is an error that says why; `has_response` tells beforehand."""
    client = await connect(up.api)
    task = await client.do("submit", "http://127.0.0.1:9/", retry=ONCE)
    with pytest.raises(TaskFailed) as failed:
        await client.do("wait", of=task)
    assert not failed.value.task.has_response
    with pytest.raises(NoResponseError, match=f"task {task.id} has no response: unreachable"):
        _ = failed.value.task.response
