import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from longcall.core import callback
from longcall.core.attempt import Outcome
from longcall.core.messages import CallbackMessage
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.signing import sign
from longcall.core.task import CALLBACK_RETRIES, Callback, Kind, OAuthToken, State, TaskSpec
from longcall.core.text import parse_bytes
from longcall.core.wire import loads
from longcall.engine.ports import CallRequest
from longcall.testing import ok, settled
from tests.engine.house import CONTROL, SECRET, House, Line, Runner, answers
from tests.making import spec

ONCE = RetryPolicy(max_attempts=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def house() -> House:
    """An engine with everything by hand."""
    return House()


def told(house: House) -> list[CallbackMessage]:
    """The callback messages queued so far, all of them on the control queue."""
    found = [put for put in house.queue.puts if isinstance(put.message, CallbackMessage)]
    assert {put.queue for put in found} <= {CONTROL}
    return [put.message for put in found if isinstance(put.message, CallbackMessage)]


async def fails(house: House, on: tuple[str, ...] = ("succeeded", "failed", "cancelled")) -> Runner:
    """A task that wants a callback, and fails."""
    await house.submit(asked=spec(retry=ONCE, callback=replace(house.hook, on=on)))
    house.caller.answer = answers(house, 503)
    runner = await house.runner()
    await house.deliver(runner, 1)
    house.caller.answer = None
    return runner


async def test_an_end_is_told(house: House) -> None:
    """The callback is a task of its own, signed, with the task as it is read."""
    runner = await fails(house)
    (message,) = told(house)
    assert (await runner.dispatcher.dispatch(message)).details["state"] == "SUCCEEDED"
    task = await house.task("train.callback-3")
    assert (task.kind, task.parent, task.trace) == (Kind.CALLBACK, "train", (await house.task()).trace)
    request, _ = house.caller.calls[-1]
    body = request.request.body
    assert isinstance(body, bytes)
    event = loads(body)
    assert (event["type"], event["schema"], event["data"]["task"]["failure"]["reason"]) == ("task.failed", 1, "status")
    assert "headers" not in event["data"]["task"]["httpRequest"]
    headers = dict(request.headers)
    assert headers["webhook-id"] == "train.callback-3"
    assert headers["webhook-signature"] == sign(SECRET, "train.callback-3", house.clock.now(), body)


async def test_only_the_ends_that_are_wanted_are_told(house: House) -> None:
    """`on` chooses."""
    await fails(house, on=("succeeded",))
    assert told(house) == []


async def test_a_callback_queued_before_its_end_is_written_comes_again(house: House) -> None:
    """[ahead] [queue-first] Its owner is about to write; the message is not answered for good."""
    await house.submit(asked=spec(retry=ONCE, callback=house.hook))
    runner, other = await house.runner(), await house.runner("r-2")
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    early = CallbackMessage("train", (await house.task()).create_time, 3, house.clock.now())
    assert (await other.dispatcher.dispatch(early)).status == 429
    line.end(house)
    await delivery
    assert (await other.dispatcher.dispatch(early)).status == 200
    assert (await house.task("train.callback-3")).state is State.SUCCEEDED


async def test_a_callback_queued_a_moment_before_its_end_is_written_is_told_at_once(house: House) -> None:
    """Queue first, write then: the message is often the quicker one, and waits for the record instead of for the queue's backoff."""
    await house.submit(asked=spec(retry=ONCE, callback=house.hook))
    runner = await house.runner()
    line = Line()
    house.caller.answer = line
    delivery = asyncio.create_task(house.deliver(runner, 1))
    await line.open.wait()
    early = CallbackMessage("train", (await house.task()).create_time, 3, house.clock.now())
    telling = asyncio.create_task(runner.dispatcher.dispatch(early))
    await settled(3)
    line.end(house)
    await delivery
    assert (await telling).details["state"] == "SUCCEEDED"


async def test_a_callback_of_an_end_that_never_came_does_nothing(house: House) -> None:
    """Its owner queued it and died; the task was settled as lost and goes on: nobody is told, and the parent is not touched."""
    steady = RetryPolicy(min_backoff=MINUTE, max_backoff=MINUTE, jitter=Jitter.NONE)
    await house.submit(asked=spec(retry=steady, callback=house.hook))
    await house.lose("r-dead", 1)
    other = await house.seasoned("r-2")
    message = CallbackMessage("train", (await house.task()).create_time, 3, house.clock.now())
    assert (await other.dispatcher.dispatch(message)).status == 200
    task = await house.task()
    assert (task.state, task.version, task.attempt_count) == (State.WAITING, 3, 1)
    assert await house.store.get("train.callback-3") is None


async def test_an_end_written_while_its_callback_looks_is_told() -> None:
    """The message is delivered before its version is written, and that is written between any two of its reads."""
    for steps in range(12):
        world = House()
        await world.submit(asked=spec(retry=ONCE, callback=world.hook))
        runner, other = await world.runner(), await world.runner("r-2")
        line = Line()
        world.caller.answer = line
        delivery = asyncio.create_task(world.deliver(runner, 1))
        await line.open.wait()
        early = CallbackMessage("train", (await world.task()).create_time, 3, world.clock.now())
        looking = asyncio.create_task(other.dispatcher.dispatch(early))
        await settled(steps)
        line.end(world)
        await delivery
        if (await looking).status == 429:
            await other.dispatcher.dispatch(early)
        assert (await world.task("train.callback-3")).state is State.SUCCEEDED, f"after {steps} steps"


async def test_a_doubled_callback_tells_once(house: House) -> None:
    """The queue may deliver it again."""
    runner = await fails(house)
    (message,) = told(house)
    for _ in range(3):
        assert (await runner.dispatcher.dispatch(message)).status == 200
    assert len(house.caller.calls) == 2


async def test_a_task_that_fails_and_then_succeeds_calls_back_twice(house: House) -> None:
    """[callback-version] Each end has its own callback."""
    runner = await fails(house)
    await runner.dispatcher.dispatch(told(house)[0])
    await house.control.retry("train")
    await house.deliver(runner, 4)
    await runner.dispatcher.dispatch(told(house)[1])
    callbacks = await house.control.callbacks(await house.task())
    assert [(task.id, task.state) for task in callbacks] == [
        ("train.callback-3", State.SUCCEEDED),
        ("train.callback-6", State.SUCCEEDED),
    ]


async def test_running_again_first_tells_the_end_as_it_stood(house: House) -> None:
    """A callback that was not made yet is made before the record forgets that end."""
    runner = await fails(house)
    await house.control.retry("train")
    task = await house.task("train.callback-3")
    assert isinstance(task.spec, type(spec()))
    assert isinstance(task.spec.request.body, bytes)
    assert loads(task.spec.request.body)["type"] == "task.failed"
    await runner.dispatcher.dispatch(told(house)[0])
    assert (await house.task("train.callback-3")).state is State.SUCCEEDED


async def test_an_end_written_while_a_retry_looks_is_told() -> None:
    """A cancel that lands between the reads of a retry is told although the record no longer says so."""
    for steps in range(12):
        world = House()
        await world.submit(asked=spec(callback=world.hook))
        retrying = asyncio.create_task(world.control.retry("train"))
        await settled(steps)
        if (await world.control.cancel("train")).state is not State.CANCELLED:
            continue
        await retrying
        runner = await world.runner()
        for message in told(world):
            await runner.dispatcher.dispatch(message)
        ends = [task.id for task in await world.control.callbacks(await world.task())]
        assert ends, f"after {steps} steps"


async def test_forgetting_first_tells_the_end(house: House) -> None:
    """A forgotten task's callback is still made."""
    runner = await fails(house)
    await house.control.forget("train")
    await runner.dispatcher.dispatch(told(house)[0])
    assert (await house.task("train.callback-3")).state is State.SUCCEEDED


async def test_a_cancel_tells_too(house: House) -> None:
    """An end that the API writes is told as any other."""
    await house.submit(asked=spec(callback=house.hook))
    await house.control.cancel("train")
    runner = await house.runner()
    await runner.dispatcher.dispatch(told(house)[0])
    assert (await house.task("train.callback-2")).state is State.SUCCEEDED


async def test_a_callback_has_its_own_policy_and_its_retries_are_nobody_s_to_pause(house: House) -> None:
    """Its next attempts go on the control queue, and it is signed anew each time."""
    runner = await fails(house)
    house.caller.answer = answers(house, 500, 200)
    await runner.dispatcher.dispatch(told(house)[0])
    task = await house.task("train.callback-3")
    assert task.state is State.WAITING
    assert house.queue.puts[-1].queue == CONTROL
    await house.clock.advance(20)
    await runner.lease.beat()
    await runner.dispatcher.dispatch(house.visit_of(house.queue.puts[-1].message))
    assert (await house.task("train.callback-3")).state is State.SUCCEEDED
    first, second = (dict(request.headers) for request, _ in house.caller.calls[-2:])
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_410_stops_a_callback(house: House) -> None:
    """The receiver wants no more of them, whatever the policy says."""
    runner = await fails(house)
    house.caller.answer = answers(house, 410)
    await runner.dispatcher.dispatch(told(house)[0])
    task = await house.task("train.callback-3")
    assert (task.state, task.attempt_count) == (State.FAILED, 1)
    assert "4xx" in CALLBACK_RETRIES.retry_on


async def test_a_secret_that_is_gone_leaves_the_receiver_alone(house: House) -> None:
    """A callback is never sent unsigned: the attempt is `unreachable`, and goes again when the secret may be back."""
    runner = await fails(house)
    runner.calls.secrets = {}
    await runner.dispatcher.dispatch(told(house)[0])
    task = await house.task("train.callback-3")
    assert (task.state, task.attempts[0].trouble and task.attempts[0].trouble.code) == (State.WAITING, "NO_SECRET")
    assert len(house.caller.calls) == 1


async def test_a_tenth_of_the_room_is_kept_for_callbacks(house: House) -> None:
    """A runner full of calls still tells of ends."""
    runner = await fails(house)
    runner.calls.room = replace(runner.calls.room, max_calls=10)
    line = Line()

    async def answer(request: CallRequest) -> Outcome:
        return ok(house.clock.now()) if "webhook-id" in dict(request.headers) else await line(request)

    house.caller.answer = answer
    names = [f"t{number}" for number in range(10)]
    for name in names:
        await house.submit(name)
    deliveries = [asyncio.create_task(runner.dispatcher.dispatch(house.first_message(name))) for name in names]
    await settled()
    assert len(runner.calls) == 9
    assert (await runner.dispatcher.dispatch(told(house)[0])).details["state"] == "SUCCEEDED"
    line.end(house)
    assert sorted([(await delivery).status for delivery in deliveries]) == [200] * 9 + [429]


def test_ids_carry_the_version() -> None:
    """[callback-version] One id for each end."""
    assert callback.task_id("train", 7) == "train.callback-7"


async def test_an_end_is_published(house: House) -> None:
    """To Pub/Sub the same event goes as a message, with the runner's own token and no signature."""
    hook = Callback(topic="projects/p/topics/ends")
    await house.submit(asked=spec(callback=hook))
    runner = await house.runner()
    await house.deliver(runner, 1)
    (message,) = told(house)
    assert (await runner.dispatcher.dispatch(message)).details["state"] == "SUCCEEDED"
    asked, _ = house.caller.calls[-1]
    assert asked.request.url == "https://pubsub.googleapis.com/v1/projects/p/topics/ends:publish"
    assert asked.request.auth == OAuthToken("", "https://www.googleapis.com/auth/pubsub")
    assert not any(name.startswith("webhook-") for name, _ in asked.headers)
    assert isinstance(asked.request.body, bytes)
    (published,) = loads(asked.request.body)["messages"]
    assert published["attributes"] == {"type": "task.succeeded", "id": "train.callback-3", "task": "train"}
    assert loads(parse_bytes(published["data"]))["data"]["task"]["state"] == "SUCCEEDED"
    kept = (await house.task()).spec
    assert isinstance(kept, TaskSpec)
    assert kept.callback == hook
