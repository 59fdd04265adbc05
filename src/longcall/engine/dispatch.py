"""One delivery of a message: take, call, decide, owe, write, answer. The table is core/delivery.py, the protocol DESIGN section 3."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from longcall.core import delivery, lifecycle
from longcall.core.attempt import Break, Responded
from longcall.core.delivery import Delivery, HandPut, Later, Lose, Nothing, Owner, Take, Visit
from longcall.core.errors import UnavailableError, UnclearError
from longcall.core.lifecycle import WrongEventError
from longcall.core.messages import CallbackMessage, LookMessage
from longcall.core.task import State, Task
from longcall.engine import observe
from longcall.engine.admit import Admission
from longcall.engine.calls import Calls, Seat
from longcall.engine.lease import Lease, owner_is
from longcall.engine.ports import Clock, Store, Stored
from longcall.engine.settle import Claim, Settler, pauses

OK, AGAIN = 200, 429
MOMENT = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What the queue is told: 200 lets it forget the message, 429 has it come again."""

    status: int
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Dispatcher:
    """Everything a dispatch needs."""

    store: Store
    clock: Clock
    lease: Lease
    calls: Calls
    settler: Settler
    admission: Admission

    def dispatch(self, message: Delivery) -> Coroutine[Any, Any, Answer]:
        """Do what a delivered message asks for. Raises OurFault when the store or the queue is out of reach."""
        match message:
            case LookMessage():
                return self._look(message)
            case CallbackMessage():
                return self._callback(message)
            case HandPut():
                return self._hand_put(message)
            case Visit():
                return self._visit(message)
            case _:
                assert_never(message)

    async def _hand_put(self, message: HandPut) -> Answer:
        return await self._visit(await self.admission.admit(message))

    async def _visit(self, visit: Visit) -> Answer:
        observe.dispatch_received(visit)
        waited = False
        while (stored := await self.admission.find(visit)) is not None:
            match await self._judge(stored.task, visit):
                case Later(_, soon=True) if not waited:
                    waited = await self._waited(visit)
                case Nothing() | Later() as verdict:
                    return _told(visit, stored.task, verdict)
                case Lose():
                    await self.settler.lose(stored.task)
                case delivery.Expire():
                    await self.settler.expire(stored)
                case Take():
                    visit = visit.without_asked()  # which need not be kept for the hours of a call
                    if (answer := await self._take(stored)) is not None:
                        return answer
                case verdict:
                    assert_never(verdict)
        observe.message_odd(visit, "there is no such record, and this message can't make one")
        return Answer(OK, {"id": visit.task})

    async def _take(self, stored: Stored) -> Answer | None:
        """Step 1, and what follows it. None when another version got in between."""
        await self.lease.announce()
        taken = lifecycle.take(stored.task, self.lease.name, self.clock.now(), self.clock.new_hex(16))
        seat = self.calls.seat(taken.kind)
        if seat is None or not self.calls.hold(taken, seat):
            return Answer(AGAIN, _standing(stored.task, "no room" if seat is None else "another dispatch is taking it"))
        mine = await self._took(taken, stored.tag)
        if mine is None:
            return None
        observe.task_taken(stored.task, taken)
        return await self._made(mine, seat)

    async def _waited(self, ahead: Visit) -> bool:
        """Give the writer of a version a moment, since it queues first and writes then: the queue would come again only in a second."""
        await self.store.changed(ahead.task, ahead.version - 1, MOMENT)
        return True

    async def _judge(self, task: Task, visit: Visit) -> delivery.Verdict:
        others = task.state is State.RUNNING and task.owner != self.lease.name
        owner = owner_is(await self.store.runner(task.owner or "")) if others else Owner.SILENT
        return delivery.judge(task, visit, self.lease.me(holds=self.calls.holds(task)), owner, self.clock.now())

    async def _took(self, taken: Task, tag: object) -> Stored | None:
        """Write the take; what is held is let go unless it landed."""
        mine = None
        try:
            mine = await self._write_take(taken, tag)
        finally:
            if mine is None:
                self.calls.release(taken)
        return mine

    async def _write_take(self, taken: Task, tag: object) -> Stored | None:
        try:
            new_tag = await self.store.replace(taken, tag)
        except UnclearError:
            return await self._read_back(Claim.on(taken))
        return None if new_tag is None else Stored(taken, new_tag)

    async def _read_back(self, claim: Claim) -> Stored | None:
        """An unclear take landed if the record is RUNNING under my name and attempt number."""
        for pause in pauses():
            try:
                stored = await self.store.get(claim.task_id)
            except UnavailableError as error:
                observe.out_of_reach("store", error)
                await self.clock.sleep(pause)
            else:
                return stored if stored is not None and claim.holds(stored.task) else None
        raise AssertionError("pauses never end")

    async def _made(self, mine: Stored, seat: Seat) -> Answer:
        """Steps 2 to 6; a detached call goes on after its dispatch is answered, and its owner's look is its recovery."""
        taken, work = mine.task, self.calls.start(self._attempt(mine))
        if seat is Seat.DETACHED and await self._is_looked_at():
            return Answer(OK, {"id": taken.id, "state": taken.state.value, "attempt": taken.attempt_count, "detached": True})
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.cancelled():
                raise  # the queue dropped its side; the call goes on
            return Answer(AGAIN, _standing(taken, "this runner stopped before it could settle it"))

    async def _is_looked_at(self) -> bool:
        """Whether a look will find this call: the lease may have lapsed while the take was written, and its look be answered for good."""
        try:
            await self.lease.announce()
        except UnavailableError as error:
            observe.out_of_reach("queue", error)
            return False  # so the dispatch stays open: the queue will ask again
        return True

    async def _attempt(self, mine: Stored) -> Answer:
        taken = mine.task
        try:
            outcome = await self.calls.make(taken)  # step 2
            known = None if outcome.name == Break.CANCELLED.value else mine  # whoever asked for its end wrote in between
            settled = await self.settler.settle(Claim.on(taken), outcome, known)  # steps 3 to 5
        finally:
            self.calls.release(taken)
        response = outcome.response if isinstance(outcome, Responded) else None
        return Answer(
            AGAIN if self.calls.draining and not outcome.ok else OK,
            {
                "id": taken.id,
                "state": settled.state.value if settled else None,
                "attempt": taken.attempt_count,
                "outcome": outcome.name,
                "status": response.status if response else None,
                "size": response.size if response else None,
            },
        )

    async def _callback(self, message: CallbackMessage) -> Answer:
        """Tell of an end: go on with its callback task once the record has ended so, and not before."""
        ahead = Visit(message.callback_of, message.created, message.version, message.at)
        waited = False
        while (found := await self.admission.callback(message)) is not None:
            if isinstance(found, Visit):
                return await self._visit(found)
            match await self._judge(found, ahead):
                case Lose():
                    await self.settler.lose(found)
                case Later(_, soon=True) if not waited:
                    waited = await self._waited(ahead)
                case Nothing() | Later() as verdict:
                    return _told(ahead, found, verdict)
                case verdict:  # a record behind its message is never due by it
                    raise WrongEventError(f"{verdict} of {found.id} for its callback of version {message.version}")
        return Answer(OK, {"callbackOf": message.callback_of, "why": "nobody is to be told"})

    async def _look(self, look: LookMessage) -> Answer:
        """See whether a runner lives; if not, settle all it left behind before its look may be forgotten."""
        if look.runner == self.lease.name:
            await self.lease.beat()  # whatever the clocks have done meanwhile: I live
        owner = owner_is(await self.store.runner(look.runner))
        if owner is Owner.ALIVE:
            await self.lease.queue_look(LookMessage(look.runner, look.k, look.n + 1))
            return Answer(OK, {"runner": look.runner, "alive": True})
        left = await self.store.owned(look.runner)
        if left and not delivery.may_settle(self.lease.me(), owner):
            return Answer(AGAIN, {"runner": look.runner, "alive": False})
        await self.settler.lose_all(left, look.runner)
        if left or owner is not Owner.ENDED:
            observe.runner_lost(look.runner, len(left))
        return Answer(OK, {"runner": look.runner, "alive": False, "lost": len(left)})


def _told(visit: Visit, task: Task, verdict: Nothing | Later) -> Answer:
    if isinstance(verdict, Later):
        return Answer(AGAIN, _standing(task, verdict.why))
    if verdict.alarming:
        observe.message_odd(visit, verdict.why)
    return Answer(OK, _standing(task, verdict.why))


def _standing(task: Task, why: str) -> dict[str, object]:
    return {"id": task.id, "state": task.state.value, "why": why}
