import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from longcall.core.attempt import Break, Broken, Outcome, Trouble, cancelled, drained
from longcall.core.errors import UnavailableError
from longcall.core.messages import LookMessage
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.task import State, Task, Unreadable
from longcall.engine import metrics, observe
from longcall.engine.calls import Room
from longcall.engine.ports import CallRequest, Query
from longcall.engine.requeue import take_over
from longcall.telemetry.tally import Tally
from longcall.testing import ok, settled
from tests.engine.house import House, Line, Runner, answers, hand_put, visit
from tests.making import spec

MINUTE = timedelta(minutes=1)
STEADY = RetryPolicy(min_backoff=MINUTE, max_backoff=MINUTE, jitter=Jitter.NONE)


@pytest.fixture
def house() -> House:
    """An engine with everything by hand."""
    return House()


async def test_a_dispatch_takes_calls_decides_and_answers(house: House) -> None:
    """One delivery is one attempt, and its answer tells the queue's side what became of it."""
    await house.submit()
    runner = await house.runner()
    answer = await house.deliver(runner, 1)
    assert (answer.status, answer.details) == (
        200,
        {"id": "train", "state": "SUCCEEDED", "attempt": 1, "outcome": "response", "status": 200, "size": 2},
    )
    task = await house.task()
    assert (task.state, task.version, task.attempt_count, len(house.caller.calls)) == (State.SUCCEEDED, 3, 1, 1)


async def test_a_retry_is_a_message_and_not_a_sleep(house: House) -> None:
    """After a 503 the record WAITS, its message is in the queue for that time, and nothing of it is left in memory."""
    await house.submit(asked=spec(retry=STEADY))
    house.caller.answer = answers(house, 503, 200)
    runner = await house.runner()
    assert (await house.deliver(runner, 1)).status == 200
    task = await house.task()
    assert (task.state, task.next_attempt_time, len(runner.calls)) == (State.WAITING, house.clock.now() + MINUTE, 0)
    assert house.put(3).at == task.next_attempt_time
    await house.deliver(runner, 3)
    assert (await house.task()).state is State.SUCCEEDED


async def test_queue_first_before_the_record(house: House) -> None:
    """[queue-first] What a version needs is in the queue before the version is written: a death in between loses nothing."""
    await house.submit(asked=spec(retry=STEADY))
    house.caller.answer = answers(house, 503)
    runner = await house.runner()
    order: list[str] = []
    create, write = house.queue.create, house.store.replace

    async def noted_create(*args: object) -> None:
        order.append("queue")
        await create(*args)  # type: ignore[arg-type] # passed on as they came

    async def noted_replace(*args: object) -> object:
        order.append("record")
        return await write(*args)  # type: ignore[arg-type] # as above

    house.queue.create, house.store.replace = noted_create, noted_replace  # type: ignore[assignment, method-assign] # as above
    await house.deliver(runner, 1)
    assert order == ["queue", "record", "queue", "record"]  # its look, its take; its next attempt, its settle


async def test_a_submit_queues_before_it_writes(house: House) -> None:
    """[queue-first] A queue that is away makes no record; a record that may be missing is made by the first dispatch."""
    house.queue.away = True
    with pytest.raises(UnavailableError):
        await house.submit()
    assert await house.store.get("train") is None
    house.queue.away = False
    await house.submit()
    await house.store.delete(*await house.stored())  # as if its writer had died before it wrote
    await house.deliver(await house.runner(), 1)
    assert (await house.task()).state is State.SUCCEEDED


async def test_the_look_is_queued_before_the_first_take(house: House) -> None:
    """[look-first] A runner that dies right after its take is looked for."""
    await house.submit()
    runner = await house.runner()
    house.queue.away = True
    with pytest.raises(UnavailableError):
        await house.deliver(runner, 1)
    assert (await house.task()).state is State.SCHEDULED
    house.queue.away = False
    await house.deliver(runner, 1)
    assert house.looks() == [LookMessage("r-1", 0, 0)]


async def test_a_lapse_calls_for_a_new_look(house: House) -> None:
    """[look-first] The look of before the lapse may have been answered for good."""
    runner = await house.runner()
    await house.submit("one")
    await house.submit("two")
    first, second = (visit(put.message) for put in house.queue.puts)
    await runner.dispatcher.dispatch(first)
    await house.clock.advance(31)
    assert (await runner.dispatcher.dispatch(second)).status == 429
    await runner.lease.beat()
    await runner.dispatcher.dispatch(second)
    assert house.looks() == [LookMessage("r-1", 0, 0), LookMessage("r-1", 1, 0)]


async def test_an_unclear_take_is_read_back(house: House) -> None:
    """[read-back] A take whose answer was lost is mine if the record says so: the call is made, once."""
    await house.submit()
    runner = await house.runner()
    house.store.unseen_writes = 1
    assert (await house.deliver(runner, 1)).status == 200
    assert ((await house.task()).state, len(house.caller.calls)) == (State.SUCCEEDED, 1)


async def test_an_unclear_settle_is_read_back(house: House) -> None:
    """[read-back] A settle whose answer was lost is not decided a second time."""
    await house.submit(asked=spec(retry=STEADY))
    runner = await house.runner()

    async def answer(_: CallRequest) -> Outcome:
        house.store.unseen_writes = 1
        return ok(house.clock.now(), 503)

    house.caller.answer = answer
    tally = Tally()
    with observe.telling(None, tally):
        delivery = asyncio.create_task(house.deliver(runner, 1))
        await house.clock.advance(1)
        told = await delivery
    assert (told.status, told.details["state"]) == (200, "WAITING"), "it landed, so it is not late"
    assert sum(count for (metric, _), count in tally.counts.items() if metric is metrics.ATTEMPTS) == 1, "and it is told of, once"
    task = await house.task()
    assert (task.state, task.version, len(task.attempts)) == (State.WAITING, 3, 1)


async def test_an_unclear_insert_is_read_back(house: House) -> None:
    """[read-back] A create whose answer was lost is answered by what is there."""
    house.store.unseen_writes = 1
    submitted = await house.submit()
    assert (submitted.created, submitted.task.id) == (True, "train")


async def test_an_outcome_waits_for_a_store_that_is_away(house: House) -> None:
    """What a call of hours brought is not lost because the store is away for a minute."""
    await house.submit()
    runner = await house.runner()

    async def answer(_: CallRequest) -> Outcome:
        house.store.away = True
        return ok(house.clock.now())

    house.caller.answer = answer
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await house.clock.advance(60)
    assert not delivery.done()
    house.store.away = False
    await house.clock.advance(10)
    assert (await delivery).status == 200
    assert (await house.task()).state is State.SUCCEEDED


async def test_a_claim_is_owner_and_attempt(house: House) -> None:
    """[claim] A version that moved under a running call (a cancel request) does not take the outcome away from its owner."""
    await house.submit()
    runner = await house.runner()
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    await _request_cancel(house)
    line.ends.set_result(ok(house.clock.now(), 503))
    assert (await delivery).details["state"] == "CANCELLED"
    assert (await house.task()).version == 4


async def _request_cancel(house: House) -> None:
    stored = await house.store.get("train")
    assert stored is not None
    asked = replace(stored.task, cancel_request_time=house.clock.now(), version=stored.task.version + 1)
    assert await house.store.replace(asked, stored.tag)


async def test_a_message_ahead_comes_again(house: House) -> None:
    """[ahead] The message of the next attempt, delivered before its version is written, is not answered for good."""
    await house.submit(asked=spec(retry=STEADY))
    runner, other = await house.runner(), await house.runner("r-2")
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    house.store.away = True
    line.ends.set_result(ok(house.clock.now(), 503))
    await settled()
    house.store.away = False
    early = visit(house.put(1).message)
    ahead = type(early)(early.task, early.created, 3, house.clock.now())  # type: ignore[union-attr, call-arg, arg-type] # a visit
    assert (await other.dispatcher.dispatch(ahead)).status == 429
    await house.clock.advance(10)
    await delivery


async def test_a_doubled_message_makes_no_second_call(house: House) -> None:
    """The queue may deliver twice: while the call is held, and after it ended."""
    await house.submit()
    runner, other = await house.runner(), await house.runner("r-2")
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    assert [(await house.deliver(each, 1)).status for each in (runner, other)] == [200, 200]
    line.ends.set_result(ok(house.clock.now()))
    await delivery
    assert (await house.deliver(other, 1)).status == 200
    assert len(house.caller.calls) == 1


async def test_two_runners_race_for_one_task_and_one_calls(house: House) -> None:
    """The store decides who takes it."""
    await house.submit()
    runners = [await house.runner(f"r-{number}") for number in range(10)]
    await asyncio.gather(*(house.deliver(runner, 1) for runner in runners))
    assert len(house.caller.calls) == 1


async def test_two_deliveries_to_one_runner_race_and_one_calls(house: House) -> None:
    """The one that lost lets go of nothing that the other holds: its call is made, held to its end, and settled."""
    await house.submit()
    runner = await house.runner()
    line = Line()
    house.caller.answer = line
    deliveries = [asyncio.create_task(house.deliver(runner, 1)) for _ in range(5)]
    await line.open.wait()
    await settled()
    assert len(runner.calls) == 1
    line.ends.set_result(ok(house.clock.now()))
    assert {(await delivery).status for delivery in deliveries} == {200, 429}
    assert ((await house.task()).state, len(house.caller.calls), len(runner.calls)) == (State.SUCCEEDED, 1, 0)


async def test_no_room_has_the_message_come_again(house: House) -> None:
    """A tenth of the room is kept for callbacks: with room for two calls one is taken, and the next waits in the queue."""
    await house.submit("one")
    await house.submit("two")
    runner = await house.runner(room=Room(max_calls=2))
    line = Line()
    house.caller.answer = line
    first, second = (visit(put.message) for put in house.queue.puts)
    delivery = asyncio.create_task(runner.dispatcher.dispatch(first))
    await line.open.wait()
    assert (await runner.dispatcher.dispatch(second)).status == 429
    assert (await house.task("two")).state is State.SCHEDULED
    line.ends.set_result(ok(house.clock.now()))
    await delivery


async def test_a_runner_without_a_lease_takes_nothing(house: House) -> None:
    """[own-lease] It could not be found again if it died."""
    await house.submit()
    runner = await house.runner(beating=False)
    assert (await house.deliver(runner, 1)).status == 429
    assert not house.caller.calls


async def test_a_dropped_dispatch_lets_the_call_go_on(house: House) -> None:
    """The queue may give up its side of an open dispatch: somebody's work is running over there, and its outcome is kept."""
    await house.submit()
    runner = await house.runner()
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    delivery.cancel()
    await settled()
    line.ends.set_result(ok(house.clock.now()))
    await settled()
    assert (await house.task()).state is State.SUCCEEDED


async def test_a_lost_runner_s_task_is_taken_up_again(house: House) -> None:
    """Its lease runs out; its look finds its tasks, settles them as lost, and they go again at once by their policy."""
    await house.submit(asked=spec(retry=STEADY))
    await house.lose("r-dead", 1)
    other = await house.seasoned("r-2")
    look = house.looks()[0]
    assert (await other.dispatcher.dispatch(look)).details == {"runner": "r-dead", "alive": False, "lost": 1}
    task = await house.task()
    assert (task.state, task.attempts[0].outcome, task.attempts[0].trouble and task.attempts[0].trouble.code) == (
        State.WAITING,
        "interrupted",
        "LOST",
    )
    assert (await house.deliver(other, 3)).details["state"] == "SUCCEEDED"


async def test_a_young_runner_declares_nobody_lost(house: House) -> None:
    """[own-lease] In its first 35 s, or after a beat of its own failed, a runner has the look come again."""
    await house.submit(asked=spec(retry=STEADY))
    await house.lose("r-dead", 1)
    await house.clock.advance(60)
    young = await house.runner("r-2")
    assert (await young.dispatcher.dispatch(house.looks()[0])).status == 429
    assert (await house.deliver(young, 1)).status == 429
    assert (await house.task()).state is State.RUNNING


def sure(runner: Runner) -> bool:
    """Whether a runner may say of others that they are lost, as it is now."""
    return runner.lease.may_declare_lost


async def test_a_failed_beat_makes_a_runner_unsure_of_others(house: House) -> None:
    """[own-lease] A store that was away makes everybody look dead: for 35 s this runner declares nobody lost, and still takes tasks."""
    runner = await house.seasoned("r-1")
    assert sure(runner)
    house.store.away = True
    assert not await runner.lease.beat()
    house.store.away = False
    assert not sure(runner)
    assert runner.lease.good
    await runner.lease.beat()
    for _ in range(3):
        await house.clock.advance(9)
        await runner.lease.beat()
    assert not sure(runner)
    await house.clock.advance(9)
    await runner.lease.beat()
    assert sure(runner)


async def test_the_look_at_a_live_runner_goes_on(house: House) -> None:
    """One message a minute for a runner, however many calls it holds."""
    await house.submit()
    runner = await house.runner()
    await house.deliver(runner, 1)
    await runner.lease.beat()
    assert (await runner.dispatcher.dispatch(LookMessage("r-1", 0, 0))).status == 200
    assert house.looks() == [LookMessage("r-1", 0, 0), LookMessage("r-1", 0, 1)]


async def test_the_look_stays_until_nothing_is_left(house: House) -> None:
    """[look-stays] A store that fails half way through has the look come again."""
    await house.submit(asked=spec(retry=STEADY))
    await house.lose("r-dead", 1)
    other = await house.seasoned("r-2")
    house.queue.away = True
    with pytest.raises(UnavailableError):
        await other.dispatcher.dispatch(house.looks()[0])
    assert (await house.task()).state is State.RUNNING


async def test_what_a_dead_runner_left_is_settled_side_by_side(house: House) -> None:
    """One that can't be written keeps none of the others back, and has the look come again; more are left than are settled at a time."""
    runner = await house.runner("r-dead", room=Room(100, hold_slots=0, detach=True))
    house.caller.answer = Line()
    for number in range(50):
        await house.submit(f"t{number}", asked=spec(retry=STEADY))
        await runner.dispatcher.dispatch(house.first_message(f"t{number}"))
    await runner.calls.abandon()
    await house.clock.advance(60)
    other = await house.seasoned("r-2")
    write = house.store.replace

    async def spoilt(task: Task, tag: object) -> object:
        if task.id == "t7":
            raise UnavailableError("this one not")
        return await write(task, tag)

    house.store.replace = spoilt  # type: ignore[method-assign] # a store that fails once in a while
    with pytest.raises(UnavailableError, match="this one not"):
        await other.dispatcher.dispatch(house.looks()[0])
    states = [(await house.task(f"t{number}")).state for number in range(50)]
    assert [number for number, state in enumerate(states) if state is not State.WAITING] == [7]
    house.store.replace = write  # type: ignore[method-assign] # as above
    assert (await other.dispatcher.dispatch(house.looks()[0])).details["lost"] == 1


async def test_a_data_folder_s_next_process_settles_what_was_left(house: House) -> None:
    """Under `up` nobody else can own anything: every RUNNING task is settled as lost before serving."""
    await house.submit(asked=spec(retry=STEADY))
    await house.lose("r-dead", 1)
    assert await take_over(house.store, house.settler) == 1
    task = await house.task()
    assert (task.state, task.attempts[0].outcome) == (State.WAITING, "interrupted")
    assert house.put(3).at == task.next_attempt_time


@pytest.mark.parametrize("how", [drained, cancelled])
async def test_an_end_asked_for_while_a_take_is_written_strikes_no_settle(house: House, how: Callable[..., Broken]) -> None:
    """The call is not made, and its record does not stay RUNNING."""
    await house.submit(asked=spec(retry=RetryPolicy(max_attempts=1)))
    runner = await house.runner()
    write = house.store.replace

    async def slow(task: Task, tag: object) -> object:
        written = await write(task, tag)
        if task.state is State.RUNNING:
            if how is drained:
                await runner.calls.drain()
            else:
                runner.calls.cancel([task.id])
        return written

    house.store.replace = slow  # type: ignore[method-assign] # a store that takes its time
    delivery = await house.deliver(runner, 1)
    task = await house.task()
    assert not house.caller.calls
    expected = (429, State.WAITING, "interrupted") if how is drained else (200, State.CANCELLED, "cancelled")
    assert (delivery.status, task.state, task.attempts[0].outcome) == expected


async def test_a_drain_settles_every_call_and_counts_none(house: House) -> None:
    """A runner that is stopped closes its calls; they go again at once and their attempt does not count."""
    await house.submit(asked=spec(retry=RetryPolicy(max_attempts=1)))
    runner = await house.runner()
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    await runner.calls.drain()
    assert (await delivery).status == 429
    task = await house.task()
    assert (task.state, task.budget.tries, task.budget.drains) == (State.WAITING, 0, 1)
    assert task.attempts[0].trouble is not None
    assert (task.attempts[0].trouble.code, task.attempts[0].sent_time) == ("DRAINED", house.clock.now())
    assert (await house.deliver(runner, 3)).status == 429, "a draining runner takes nothing"


async def test_a_runner_lost_while_draining_loses_nothing(house: House) -> None:
    """`drained` is in its lease record first: whoever settles its calls settles them as drained."""
    await house.submit(asked=spec(retry=STEADY))
    await house.lose("r-dead", 1)
    dead = await house.runner("r-dead", beating=False)
    dead.lease.drained = True
    await dead.lease.beat()
    await take_over(house.store, house.settler)
    trouble = (await house.task()).attempts[0].trouble
    assert trouble is not None
    assert trouble.code == "DRAINED"


async def test_what_a_stopped_runner_could_not_settle_is_looked_at_now(house: House) -> None:
    """Its last write ended its lease, so nobody has to wait for it to run out: the next runner settles it as drained, however young."""
    await house.submit(asked=spec(retry=STEADY))
    await house.lose("r-dead", 1)
    dead = await house.runner("r-dead")
    dead.lease.drained = True
    await dead.lease.end(left=True)
    assert house.queue.puts[-1].at == house.clock.now()
    young = await house.runner("r-2")
    assert (await young.dispatcher.dispatch(house.looks()[-1])).details["lost"] == 1
    trouble = (await house.task()).attempts[0].trouble
    assert trouble is not None
    assert trouble.code == "DRAINED"


async def test_a_hand_put_task_is_recorded_and_called(house: House) -> None:
    """A task that somebody put on the queue by its own means is a task like any other."""
    runner = await house.runner()
    answer = await runner.dispatcher.dispatch(hand_put("train", house.clock.now()))
    assert (answer.status, answer.details["state"]) == (200, "SUCCEEDED")
    again = await runner.dispatcher.dispatch(hand_put("train", house.clock.now()))
    assert (again.status, len(house.caller.calls)) == (200, 1)


async def test_a_hand_put_task_is_recorded_before_room_is_looked_for(house: House) -> None:
    """Nothing vanishes, and whoever asks for it finds it."""
    runner = await house.runner(beating=False)
    assert (await runner.dispatcher.dispatch(hand_put("train", house.clock.now()))).status == 429
    assert (await house.task()).state is State.SCHEDULED


async def test_a_name_used_again_an_hour_later_is_a_new_task(house: House) -> None:
    """Cloud Tasks frees names after a while: the next task of that name is called too."""
    runner = await house.runner()
    await runner.dispatcher.dispatch(hand_put("train", house.clock.now()))
    later = house.clock.now() + 60 * MINUTE
    await house.clock.advance(3600)
    await runner.lease.beat()
    for _ in range(2):
        assert (await runner.dispatcher.dispatch(hand_put("train", later))).status == 200
    assert len(house.caller.calls) == 2
    assert (await house.task("train.2")).state is State.SUCCEEDED


async def test_another_task_under_a_name_in_use_is_kept_apart(house: House) -> None:
    """It is not called, and it does not vanish: a FAILED task has its content."""
    runner = await house.runner()
    await runner.dispatcher.dispatch(hand_put("train", house.clock.now()))
    for _ in range(2):
        await runner.dispatcher.dispatch(hand_put("train", house.clock.now(), spec("http://other/")))
    assert len(house.caller.calls) == 1
    kept = [task for task in (await house.store.page(Query())).tasks if task.id.startswith("train.differs-")]
    assert [task.state for task in kept] == [State.FAILED]


async def test_what_is_no_task_is_kept_as_failed(house: House) -> None:
    """FAILED `invalid`, with the raw body, answered 200."""
    runner = await house.runner()
    answer = await runner.dispatcher.dispatch(hand_put("odd", house.clock.now(), Unreadable(b"{", "not JSON")))
    task = await house.task("odd")
    assert (answer.status, task.state, task.failure and task.failure.reason, task.spec) == (
        200,
        State.FAILED,
        "invalid",
        Unreadable(b"{", "not JSON"),
    )


async def test_a_task_whose_time_is_over_ends_without_an_attempt(house: House) -> None:
    """taskTimeout counts while the queue is paused, too."""
    await house.submit(asked=spec(task_timeout=MINUTE))
    runner = await house.runner()
    await house.clock.advance(60)
    await runner.lease.beat()
    assert (await house.deliver(runner, 1)).status == 200
    task = await house.task()
    assert (task.state, task.failure and task.failure.reason, house.caller.calls) == (State.FAILED, "task_timeout", [])


async def test_a_lost_claim_s_outcome_is_late(house: House) -> None:
    """A runner that lived while its lease lapsed brings an outcome for an attempt that was declared lost: the record stays as it is."""
    await house.submit(asked=spec(retry=STEADY))
    runner, other = await house.runner(), await house.runner("r-2")
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    for _ in range(7):
        await house.clock.advance(9)
        await other.lease.beat()
    await other.dispatcher.dispatch(house.looks()[0])
    line.ends.set_result(Broken(Break.DISCONNECTED, Trouble("RESET", "it broke"), house.clock.now()))
    assert (await delivery).details["state"] is None
    task = await house.task()
    assert (task.state, [attempt.outcome for attempt in task.attempts]) == (State.WAITING, ["interrupted"])


async def test_a_call_of_hours_is_not_silent_in_the_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every five minutes it is said that it is still there, for how long, and how much has come; a shorter one is not told of."""
    told: list[tuple[str, float, int]] = []
    monkeypatch.setattr(observe, "attempt_held", lambda task, held, size: told.append((task.id, held.total_seconds(), size)))
    line = Line()

    async def answer(request: CallRequest) -> Outcome:
        request.on_received(5)
        request.on_received(7)
        return await line(request)

    house.caller.answer = answer
    await house.submit()
    runner = await house.runner()
    reporting = asyncio.create_task(runner.calls.report())
    await settled()
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    await house.clock.advance(700)
    line.end(house)
    await delivery
    await house.clock.advance(700)
    reporting.cancel()
    assert told == [("train", 300.0, 12), ("train", 600.0, 12)]
