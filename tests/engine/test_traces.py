from dataclasses import replace
from functools import partial

import pytest

from longcall.core.delivery import Visit
from longcall.core.errors import MayExistError
from longcall.core.messages import TaskMessage
from longcall.core.request import headers
from longcall.core.task import TaskSpec
from longcall.core.trace import TraceContext
from longcall.core.wire import spec_from_json
from tests.engine.house import House, answers, hand_put
from tests.making import NOON, spec

CALLER = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=False, state="vendor=7")


async def test_a_task_keeps_its_trace_over_retries_and_into_its_callback() -> None:
    """Each attempt has a span of its own below the task's, with the caller's flag and state; the callback's attempts hang from the same."""
    house = House()
    runner = await house.runner()
    house.caller.answer = answers(house, 503, 200)
    await house.submitter.submit(spec(callback=house.hook), "train", CALLER)
    await runner.dispatcher.dispatch(house.first_message("train"))
    await house.clock.advance(20)
    await house.deliver(runner, 3)
    task = await house.task()
    await house.admission.tell(task)
    callback = await house.task(f"train.callback-{task.version}")
    assert (task.trace, callback.trace) == (CALLER.trace, CALLER.trace)
    assert task.origin == callback.origin
    assert task.origin is not None
    assert task.origin == replace(CALLER, span=task.origin.span, parent=CALLER.span)
    first, second = task.attempts
    assert len({first.span, second.span, CALLER.span, task.origin.span}) == 4
    assert isinstance(task.spec, TaskSpec)
    sent = dict(headers(task, task.spec, NOON, "longcall/1"))
    assert (sent["traceparent"], sent["tracestate"]) == (f"00-{CALLER.trace}-{second.span}-00", "vendor=7")


async def test_a_trace_survives_a_submit_that_died_after_it_had_queued() -> None:
    """The record made from the message hangs from the same caller's span."""
    house = House()
    runner = await house.runner()
    house.store.away = True
    with pytest.raises(MayExistError):
        await house.submitter.submit(spec(), None, CALLER)
    house.store.away = False
    (message,) = (put.message for put in house.queue.puts if isinstance(put.message, TaskMessage))
    assert message.caller == CALLER
    assert message.create is not None
    about = Visit(message.task, message.created, 1, message.at, partial(spec_from_json, message.create), message.caller)
    await runner.dispatcher.dispatch(about)
    task = await house.task(message.task)
    assert task.origin is not None
    assert (task.trace, task.origin.parent, task.origin.sampled) == (CALLER.trace, CALLER.span, False)


async def test_what_is_put_by_hand_has_the_trace_it_was_put_in_or_one_of_its_own() -> None:
    """Its queue task's `traceparent`, as the door read it."""
    house = House()
    runner = await house.runner()
    await runner.dispatcher.dispatch(replace(hand_put("told", NOON), caller=CALLER))
    await runner.dispatcher.dispatch(hand_put("untold", NOON))
    told, untold = await house.task("told"), await house.task("untold")
    assert told.trace == CALLER.trace
    assert untold.trace != CALLER.trace
    assert untold.origin is not None
    assert untold.origin.sampled
