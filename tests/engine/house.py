"""A whole engine on a memory store, with time, targets and queue by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from longcall.core.attempt import Outcome
from longcall.core.callback import Teller
from longcall.core.delivery import Delivery, HandPut, Visit
from longcall.core.errors import UnavailableError, UnclearError
from longcall.core.messages import LookMessage, Message, TaskMessage
from longcall.core.signing import secret_of
from longcall.core.task import Callback, Task, TaskSpec, Unreadable
from longcall.core.wire import spec_from_json
from longcall.engine.admit import Admission
from longcall.engine.calls import Calls, Room
from longcall.engine.control import Control
from longcall.engine.dispatch import Answer, Dispatcher
from longcall.engine.lease import Lease
from longcall.engine.owing import Owing
from longcall.engine.ports import CallRequest, Stored
from longcall.engine.ports import Runner as SignOfLife
from longcall.engine.settle import Settler
from longcall.engine.submit import Submitted, Submitter
from longcall.stores.memory import MemoryStore
from longcall.testing import FakeBodies, FakeCaller, FakeClock, FakeQueue, Put, ok, settled
from tests.making import QUEUE, spec

CONTROL = "projects/longcall/locations/local/queues/control"
ROOMY = Room(max_calls=100)
SECRET = secret_of(b"k" * 24)
SECRETS = {"default": [SECRET]}

Told = TypeVar("Told")


class StormyStore(MemoryStore):
    """A memory store whose next writes may land unseen, or which may be away."""

    unseen_writes = 0
    away = False

    async def get(self, task_id: str) -> Stored | None:
        """Read, unless away."""
        await self._reach()
        return await super().get(task_id)

    async def beat(self, runner: SignOfLife) -> None:
        """Write a sign of life, unless away."""
        await self._reach()
        await super().beat(runner)

    async def insert(self, task: Task) -> bool:
        """Write, perhaps unseen."""
        await self._reach()
        return self._told(await super().insert(task))

    async def replace(self, task: Task, tag: object) -> object:
        """Write, perhaps unseen."""
        await self._reach()
        return self._told(await super().replace(task, tag))

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait as long as a test lets others go on, and no real time."""
        for _ in range(20 if patience < 1 else 0):
            await asyncio.sleep(0)
        return await super().changed(task_id, after, patience if patience >= 1 else 0)

    async def _reach(self) -> None:
        await asyncio.sleep(0)  # whoever reads or writes lets others in between
        if self.away:
            raise UnavailableError("the store does not answer")

    def _told(self, landed: Told) -> Told:
        if self.unseen_writes:
            self.unseen_writes -= 1
            raise UnclearError("the answer to a write was lost")
        return landed


@dataclass
class Runner:
    """One runner process of the house."""

    lease: Lease
    calls: Calls
    dispatcher: Dispatcher


@dataclass
class House:
    """One store and one queue, and as many runners as a test starts."""

    clock: FakeClock = field(default_factory=FakeClock)
    queue: FakeQueue = field(default_factory=FakeQueue)
    bodies: FakeBodies = field(default_factory=FakeBodies)
    hook: Callback = field(default_factory=lambda: Callback("http://127.0.0.1:9/hook"))

    def __post_init__(self) -> None:
        """Fill in what depends on the clock."""
        self.store = StormyStore(self.clock.now)
        self.caller = FakeCaller(self.clock)
        self.owing = Owing(self.queue, self.clock, QUEUE, CONTROL)
        self.settler = Settler(self.store, self.owing, self.clock, self.bodies)
        self.submitter = Submitter(self.store, self.queue, self.bodies, self.clock, QUEUE)
        self.admission = Admission(self.store, self.clock, QUEUE, CONTROL, Teller("http://longcall"))
        self.control = Control(self.store, self.bodies, self.clock, self.owing, self.admission)

    async def runner(self, name: str = "r-1", room: Room = ROOMY, *, beating: bool = True) -> Runner:
        """Start a runner; it has its lease unless `beating` is False."""
        lease = Lease(self.store, self.queue, self.clock, name, CONTROL)
        if beating:
            await lease.beat()
        calls = Calls(self.caller, self.clock, "longcall/test", room, SECRETS)
        return Runner(lease, calls, Dispatcher(self.store, self.clock, lease, calls, self.settler, self.admission))

    async def submit(self, task_id: str = "train", asked: TaskSpec | None = None) -> Submitted:
        """Create a task through the API's engine."""
        return await self.submitter.submit(asked or spec(), task_id, None)

    async def stored(self, task_id: str = "train") -> Stored:
        """The record as it stands, with its tag."""
        found = await self.store.get(task_id)
        assert found is not None
        return found

    async def task(self, task_id: str = "train") -> Task:
        """The record as it stands."""
        return (await self.stored(task_id)).task

    def put(self, version: int, queue: str = QUEUE) -> Put:
        """The message queued for a version."""
        (found,) = (put for put in self.queue.puts if (put.queue, getattr(put.message, "version", None)) == (queue, version))
        return found

    def looks(self) -> list[LookMessage]:
        """The looks queued so far."""
        return [put.message for put in self.queue.puts if isinstance(put.message, LookMessage)]

    def first_message(self, task_id: str) -> Delivery:
        """The message that a task was created with."""
        (found,) = (
            put.message for put in self.queue.puts if getattr(put.message, "task", "") == task_id and getattr(put.message, "create", None)
        )
        return visit(found)

    def visit_of(self, message: Message) -> Delivery:
        """What the queue's door makes of a message."""
        return visit(message)

    async def seasoned(self, name: str) -> Runner:
        """A runner that has been beating for over a minute, so that others' leases are over and it may say so."""
        runner = await self.runner(name)
        for _ in range(7):
            await self.clock.advance(9)
            await runner.lease.beat()
        return runner

    async def kill(self, runner: Runner) -> None:
        """End a runner as a kill would: what was under way stops for ever."""
        for work in [*runner.calls._work, *(call.running for call in runner.calls._held.values())]:  # noqa: SLF001 — a death asks nobody
            if work is not None:
                work.cancel()
        await settled()

    async def lose(self, name: str, message: int | str) -> None:
        """Have a runner take a task, by the message of a version or by its first one, and die."""
        runner = await self.runner(name)
        line = Line()
        self.caller.answer = line
        about = visit(self.put(message).message) if isinstance(message, int) else self.first_message(message)
        delivery = asyncio.create_task(runner.dispatcher.dispatch(about))
        await line.open.wait()
        delivery.cancel()
        await self.kill(runner)
        self.caller.answer = None

    async def task_or_not_found(self, task_id: str) -> Task:
        """Read as the API does."""
        return await self.control.read(task_id)

    async def deliver(self, runner: Runner, version: int) -> Answer:
        """Deliver the message of a version to a runner."""
        return await runner.dispatcher.dispatch(visit(self.put(version).message))


class Line:
    """A call that stays open until the test ends it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.ends: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def __call__(self, _: CallRequest) -> Outcome:
        """Hold the call."""
        self.open.set()
        return await asyncio.shield(self.ends)

    def end(self, house: House, status: int = 200) -> None:
        """Let the target answer."""
        self.ends.set_result(ok(house.clock.now(), status))


def answers(house: House, *statuses: int) -> Callable[[CallRequest], Awaitable[Outcome]]:
    """Targets that answer so, one call after the other."""
    left = list(statuses)

    async def answer(_: CallRequest) -> Outcome:
        return ok(house.clock.now(), left.pop(0))

    return answer


def visit(message: Message) -> Delivery:
    """What the queue's door makes of a message."""
    if not isinstance(message, TaskMessage):
        return message
    asked = None if message.create is None else partial(spec_from_json, message.create)
    return Visit(message.task, message.created, message.version, message.at, asked)


def hand_put(name: str, eta: datetime, asked: TaskSpec | Unreadable | None = None) -> HandPut:
    """A task that somebody put on the queue."""
    return HandPut(name, QUEUE, eta, asked or spec())
