import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from longcall.core.errors import FailedPreconditionError, NotFoundError, UnavailableError
from longcall.core.messages import TaskMessage
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.task import State, Task, Unreadable
from longcall.engine.calls import Room
from longcall.engine.cancels import CancelWatch
from longcall.engine.requeue import Requeue, Requeued
from longcall.testing import settled
from tests.engine.house import House, Line, Runner, answers, hand_put
from tests.making import NOON, spec

MINUTE = timedelta(minutes=1)
STEADY = RetryPolicy(min_backoff=MINUTE, max_backoff=MINUTE, jitter=Jitter.NONE)


@pytest.fixture
def house() -> House:
    """An engine with everything by hand."""
    return House()


async def ended(house: House, *statuses: int, asked: RetryPolicy = STEADY) -> Runner:
    """A task whose attempts ended so, and the runner that made them."""
    await house.submit(asked=spec(retry=asked))
    house.caller.answer = answers(house, *statuses)
    runner = await house.runner()
    await house.deliver(runner, 1)
    return runner


async def held(house: House, runner: Runner, line: Line) -> "asyncio.Task[object]":
    """A task whose first attempt is held on a line."""
    house.caller.answer = line
    delivery: asyncio.Task[object] = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    return delivery


async def test_cancelling_what_waits_ends_it_at_once(house: House) -> None:
    """SCHEDULED and WAITING end CANCELLED; their messages then find nothing to do."""
    await house.submit("one")
    assert (await house.control.cancel("one")).state is State.CANCELLED
    await house.submit("two", asked=spec(retry=STEADY))
    house.caller.answer = answers(house, 503)
    runner = await house.runner()
    await runner.dispatcher.dispatch(house.first_message("two"))
    assert (await house.task("two")).state is State.WAITING
    assert (await house.control.cancel("two")).state is State.CANCELLED
    await runner.dispatcher.dispatch(house.first_message("one"))
    assert len(house.caller.calls) == 1


async def test_cancelling_what_runs_closes_it_through_its_owner(house: House) -> None:
    """The owner finds the request within a second, closes the connection and settles CANCELLED."""
    await house.submit()
    runner = await house.runner()
    delivery = await held(house, runner, Line())
    asked = await house.control.cancel("train")
    assert (asked.state, asked.cancel_request_time) == (State.RUNNING, house.clock.now())
    watch = asyncio.create_task(CancelWatch(house.store, house.clock, runner.calls, "r-1").keep())
    await house.clock.advance(1)
    await delivery
    watch.cancel()
    task = await house.task()
    assert (task.state, task.attempts[0].outcome, len(runner.calls)) == (State.CANCELLED, "cancelled", 0)


async def test_a_success_wins_over_a_cancel(house: House) -> None:
    """What ends 2xx before its connection is closed has succeeded."""
    await house.submit()
    runner = await house.runner()
    line = Line()
    delivery = await held(house, runner, line)
    await house.control.cancel("train")
    line.end(house)
    await delivery
    assert (await house.task()).state is State.SUCCEEDED


async def test_a_cancel_of_a_task_whose_owner_is_gone_ends_it(house: House) -> None:
    """A cancelled owner that is lost settles CANCELLED, and the task does not go again."""
    await house.submit(asked=spec(retry=STEADY))
    await house.lose("r-dead", 1)
    await house.control.cancel("train")
    other = await house.seasoned("r-2")
    await other.dispatcher.dispatch(house.looks()[0])
    task = await house.task()
    assert (task.state, task.attempts[0].outcome) == (State.CANCELLED, "interrupted")


async def test_cancelling_again_is_fine_and_after_an_end_is_not(house: House) -> None:
    """200 when cancelled or asked already; 409 when it has succeeded or failed; 404 for nobody."""
    await house.submit()
    first = await house.control.cancel("train")
    assert await house.control.cancel("train") == first
    for status in (200, 404):
        other = House()
        await ended(other, status)
        with pytest.raises(FailedPreconditionError):
            await other.control.cancel("train")
    with pytest.raises(NotFoundError):
        await house.control.cancel("none")


async def test_a_failed_task_runs_again_with_a_fresh_budget_and_its_history(house: House) -> None:
    """Attempts and taskTimeout are counted afresh; attempt numbers go on."""
    runner = await ended(house, 503, 200, asked=replace(STEADY, max_attempts=1))
    assert (await house.task()).state is State.FAILED
    again = await house.control.retry("train")
    assert (again.state, again.next_attempt_time, again.budget.tries, again.failure) == (State.WAITING, house.clock.now(), 0, None)
    assert (await house.deliver(runner, 4)).details["state"] == "SUCCEEDED"
    task = await house.task()
    assert [(each.number, each.status) for each in task.attempts] == [(1, 503), (2, 200)]


async def test_a_cancelled_task_runs_again(house: House) -> None:
    """A change of mind."""
    await house.submit()
    await house.control.cancel("train")
    assert (await house.control.retry("train")).cancel_request_time is None
    runner = await house.runner()
    await house.deliver(runner, 3)
    assert (await house.task()).state is State.SUCCEEDED


async def test_a_waiting_task_runs_now(house: House) -> None:
    """Not at its time: a message of the new version makes it due."""
    runner = await ended(house, 503, 200)
    await house.control.retry("train")
    assert house.put(4).at == house.clock.now()
    assert (await house.deliver(runner, 4)).details["state"] == "SUCCEEDED"


async def test_running_again_what_runs_changes_nothing(house: House) -> None:
    """With a live owner nothing is done; with a dead one a message of the present version lets a runner settle it."""
    await house.submit(asked=spec(retry=STEADY))
    runner = await house.runner()
    line = Line()
    delivery = await held(house, runner, line)
    before = len(house.queue.puts)
    assert (await house.control.retry("train")).state is State.RUNNING
    assert len(house.queue.puts) == before
    line.end(house)
    await delivery
    await house.submit("two", asked=spec(retry=STEADY))
    await house.lose("r-dead", "two")
    await house.clock.advance(31)
    await house.control.retry("two")
    other = await house.seasoned("r-2")
    look = house.queue.puts[-1].message
    assert isinstance(look, TaskMessage)
    assert (look.task, look.version) == ("two", 2)
    house.caller.answer = None
    answer = await other.dispatcher.dispatch(house.visit_of(look))
    assert answer.status == 200
    assert (await house.task("two")).attempts[0].outcome == "interrupted"


async def test_what_succeeded_or_was_never_a_task_does_not_run_again(house: House) -> None:
    """409: another task is to be created."""
    await ended(house, 200)
    with pytest.raises(FailedPreconditionError, match="SUCCEEDED"):
        await house.control.retry("train")
    runner = await house.runner("r-2")
    await runner.dispatcher.dispatch(hand_put("odd", NOON, Unreadable(b"{", "not JSON")))
    with pytest.raises(FailedPreconditionError):
        await house.control.retry("odd")


async def test_an_ended_task_is_forgotten_with_its_bodies(house: House) -> None:
    """And the id is free again: a message of its earlier life does nothing."""
    runner = await ended(house, 200)
    old = house.first_message("train")
    await house.control.forget("train")
    with pytest.raises(NotFoundError):
        await house.task_or_not_found("train")
    await house.clock.advance(1)
    await house.submit()
    await runner.lease.beat()
    assert (await runner.dispatcher.dispatch(old)).status == 200
    assert (await house.task()).state is State.SCHEDULED


@pytest.mark.parametrize("state", ["SCHEDULED", "WAITING", "RUNNING"])
async def test_what_has_not_ended_is_not_forgotten(house: House, state: str) -> None:
    """409: cancel it first."""
    await house.submit(asked=spec(retry=STEADY))
    if state == "WAITING":
        house.caller.answer = answers(house, 503)
        await house.deliver(await house.runner(), 1)
    if state == "RUNNING":
        await house.lose("r-dead", 1)
    with pytest.raises(FailedPreconditionError):
        await house.control.forget("train")
    assert (await house.task()).state.value == state


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_a_change_whose_answer_was_lost_is_read_back(house: House, verb: str) -> None:
    """[read-back] The API answers by what it finds."""
    await (house.submit() if verb == "cancel" else ended(house, 503, asked=replace(STEADY, max_attempts=1)))
    house.store.unseen_writes = 1
    task = await (house.control.cancel("train") if verb == "cancel" else house.control.retry("train"))
    assert task.state is (State.CANCELLED if verb == "cancel" else State.WAITING)
    assert await house.task() == task


async def test_the_api_queues_before_it_writes(house: House) -> None:
    """[queue-first] A queue that is away changes nothing."""
    await ended(house, 503, asked=replace(STEADY, max_attempts=1))
    house.queue.away = True
    with pytest.raises(UnavailableError):
        await house.control.retry("train")
    assert (await house.task()).state is State.FAILED


async def test_after_a_purge_everything_overdue_is_queued_again(house: House) -> None:
    """What waits, what runs without a live owner, what ended untold; a dry run only says so."""
    told = spec(retry=STEADY, callback=house.hook)
    for name in ("waits", "runs", "failed"):
        await house.submit(name, asked=told if name == "failed" else spec(retry=STEADY))
    runner = await house.runner()
    house.caller.answer = answers(house, 404)
    await runner.dispatcher.dispatch(house.first_message("failed"))
    await house.lose("r-dead", "runs")
    house.queue.puts.clear()  # somebody purged both queues
    await house.clock.advance(600)
    requeue = Requeue(house.control)
    found = Requeued(["waits"], ["runs"], ["failed"])
    assert await requeue(dry_run=True) == found
    assert house.queue.puts == []
    assert await requeue(dry_run=False) == found
    other = await house.seasoned("r-2")
    house.caller.answer = None
    for _ in range(4):
        for put in list(house.queue.puts):
            await other.dispatcher.dispatch(house.visit_of(put.message))
    states = {name: (await house.task(name)).state for name in ("waits", "runs", "failed")}
    assert states == {"waits": State.SUCCEEDED, "runs": State.SUCCEEDED, "failed": State.FAILED}
    assert [task.state for task in await house.control.callbacks(await house.task("failed"))] == [State.SUCCEEDED]


async def test_beyond_the_hold_slots_calls_are_detached(house: House) -> None:
    """Answered 200 right after the take, and the call goes on to its end."""
    runner = await house.runner(room=Room(100, hold_slots=1, detach=True))
    line = Line()
    house.caller.answer = line
    await house.submit("one")
    await house.submit("two")
    first = asyncio.create_task(runner.dispatcher.dispatch(house.first_message("one")))
    await line.open.wait()
    answer = await runner.dispatcher.dispatch(house.first_message("two"))
    assert (answer.status, answer.details["detached"], len(runner.calls)) == (200, True, 2)
    line.end(house)
    await first
    await settled()
    assert [(await house.task(name)).state for name in ("one", "two")] == [State.SUCCEEDED] * 2


async def test_beyond_the_hold_slots_calls_are_refused_by_default(house: House) -> None:
    """429: on basic scaling an idle instance is stopped, so nothing may run without its request."""
    runner = await house.runner(room=Room(100, hold_slots=1))
    line = Line()
    house.caller.answer = line
    await house.submit("one")
    await house.submit("two")
    first = asyncio.create_task(runner.dispatcher.dispatch(house.first_message("one")))
    await line.open.wait()
    assert (await runner.dispatcher.dispatch(house.first_message("two"))).status == 429
    line.end(house)
    await first


async def test_a_detached_call_of_a_lost_runner_is_found_by_its_look(house: House) -> None:
    """Its dispatch was answered long ago: the look is all there is, and it is enough."""
    runner = await house.runner("r-dead", room=Room(100, hold_slots=0, detach=True))
    await house.submit(asked=spec(retry=STEADY))
    house.caller.answer = Line()
    assert (await house.deliver(runner, 1)).details["detached"] is True
    await settled()
    await house.kill(runner)
    other = await house.seasoned("r-2")
    house.caller.answer = None
    await other.dispatcher.dispatch(house.looks()[0])
    assert (await house.deliver(other, 3)).details["state"] == "SUCCEEDED"


async def test_a_wait_ends_when_the_process_is_to_stop(house: House) -> None:
    """Nobody's long poll keeps a runner from stopping: it is answered with what is known."""
    await house.submit()
    waiting = asyncio.create_task(house.control.read("train", patience=60))
    await settled()
    house.control.closing.set()
    task: Task = await asyncio.wait_for(waiting, 1)
    assert task.state is State.SCHEDULED


async def test_a_task_is_not_forgotten_while_its_first_message_waits(house: House) -> None:
    """The message carries the task, and would make it anew: 409 until its scheduleTime."""
    await house.submit(asked=spec(schedule_time=NOON + MINUTE))
    await house.control.cancel("train")
    with pytest.raises(FailedPreconditionError, match="scheduleTime"):
        await house.control.forget("train")
    await house.clock.advance(60)
    await house.control.forget("train")


async def test_a_requeue_revives_nothing_that_ended_meanwhile(house: House) -> None:
    """It lists first and queues then: what was cancelled in between stays so, and stops nobody else's."""
    for name in ("one", "two", "three"):
        await house.submit(name)
    await house.clock.advance(600)
    requeuing = asyncio.create_task(Requeue(house.control)(dry_run=False))
    await house.control.cancel("two")
    await requeuing
    assert (await house.task("two")).state is State.CANCELLED
    assert [(await house.task(name)).version for name in ("one", "three")] == [2, 2]


async def test_an_id_that_was_forgotten_calls_back_in_its_next_life(house: House) -> None:
    """Its ended callbacks are forgotten with it."""
    runner = await house.runner()
    for life in range(2):
        await house.clock.advance(1)
        await house.submit(asked=spec(callback=house.hook))
        await runner.dispatcher.dispatch(house.visit_of(house.queue.puts[-1].message))
        await runner.dispatcher.dispatch(house.visit_of(house.queue.puts[-1].message))
        assert len(house.caller.calls) == 2 * (life + 1)
        await house.control.forget("train")
    with pytest.raises(NotFoundError):
        await house.task_or_not_found("train.callback-3")


async def test_a_take_that_lands_after_a_lapse_is_looked_at(house: House) -> None:
    """Its old look may have been answered for good before: a detached call's dispatch is not answered before there is another."""
    runner = await house.runner("r-dead", room=Room(100, hold_slots=0, detach=True))
    await house.submit("one")
    house.caller.answer = Line()
    await runner.dispatcher.dispatch(house.first_message("one"))
    await house.submit("two")
    write = house.store.replace

    async def slow(task: Task, tag: object) -> object:
        await house.clock.advance(40)
        return await write(task, tag)

    house.store.replace = slow  # type: ignore[method-assign] # a store that takes its time
    assert (await runner.dispatcher.dispatch(house.first_message("two"))).details["detached"] is True
    assert [(look.k, look.n) for look in house.looks()] == [(0, 0), (1, 0)]


async def test_a_runner_s_own_look_finds_it_alive(house: House) -> None:
    """After a suspended laptop wakes up its lease looks old, and it lives."""
    await house.submit()
    runner = await house.runner()
    line = Line()
    delivery = await held(house, runner, line)
    house.clock.time += timedelta(hours=1)
    assert (await runner.dispatcher.dispatch(house.looks()[0])).details == {"runner": "r-1", "alive": True}
    line.end(house)
    await delivery
    assert [each.outcome for each in (await house.task()).attempts] == ["response"]
