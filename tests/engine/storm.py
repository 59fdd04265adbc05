"""A world in which anything may happen between any two steps of the real engine.

Every call of a port is a gate: it stands until the storm lets it through, in whatever order, perhaps with its answer lost, perhaps not at
all. A process dies by having everything it was doing stopped for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from longcall.core import callback
from longcall.core.attempt import Outcome
from longcall.core.callback import Teller
from longcall.core.errors import CallerMistake, OurFault, UnavailableError, UnclearError
from longcall.core.messages import Message
from longcall.core.request import Limits
from longcall.core.task import Kind, Task, TaskSpec
from longcall.engine.admit import Admission
from longcall.engine.calls import Calls, Room
from longcall.engine.control import Control
from longcall.engine.dispatch import Dispatcher
from longcall.engine.lease import Lease
from longcall.engine.owing import Owing
from longcall.engine.ports import CallRequest, Stored
from longcall.engine.settle import Settler
from longcall.engine.submit import Submitter
from longcall.stores.memory import MemoryStore
from longcall.testing import FakeBodies, FakeClock, ok, settled
from tests.engine.house import CONTROL, SECRETS, visit
from tests.making import QUEUE

OPEN_AT_ONCE = 6
Answer = TypeVar("Answer")


@dataclass(eq=False)
class Gate:
    """Something a process is about to do. `write` says that its answer may be lost."""

    process: "Process"
    write: bool
    opened: "asyncio.Future[str]"


@dataclass(eq=False)
class Line:
    """A call at the target's end."""

    task_id: str
    process: "Process"
    ends: "asyncio.Future[Outcome]"


@dataclass
class Entry:
    """A message on the queue. A name that was answered for good stays known."""

    name: str
    message: Message
    at: datetime
    gone: bool = False


class GatedStore(MemoryStore):
    """One process's way to the shared store."""

    process: "Process"

    async def get(self, task_id: str) -> Stored | None:
        """Read, when let."""
        return await self.process.through(lambda: self.process.world.store.get(task_id), write=False)

    async def insert(self, task: Task) -> bool:
        """Write, when let."""
        return await self.process.through(lambda: self.process.world.insert(task), write=True)

    async def replace(self, task: Task, tag: object) -> object:
        """Write, when let."""
        return await self.process.through(lambda: self.process.world.replace(task, tag), write=True)

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait for no real time: the storm lets others go on."""
        assert after >= 0
        assert patience > 0
        return await self.get(task_id)

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 — whatever the shared store has
        """Everything else goes straight to the shared store."""
        own = ("get", "insert", "replace", "changed", "process", "__class__", "__dict__")
        return object.__getattribute__(self, name) if name in own else getattr(object.__getattribute__(self, "process").world.store, name)


@dataclass(eq=False)
class Process:
    """A runner, or one call of the API: the engine on gated ports, and what it is doing."""

    world: "World"
    name: str
    doing: set["asyncio.Task[Any]"] = field(default_factory=set)
    alive: bool = True

    def __post_init__(self) -> None:
        """Fill in the engine."""
        world, clock = self.world, self.world.clock
        store = GatedStore(clock.now)
        store.process = self
        self.owing = Owing(self, clock, QUEUE, CONTROL)
        self.lease = Lease(world.store, self, clock, self.name, CONTROL)
        held = world.born % 2  # every other runner detaches all its calls
        self.calls = Calls(self, clock, "longcall/storm", Room(100, hold_slots=held, detach=True), SECRETS)
        self.admission = Admission(store, clock, QUEUE, CONTROL, Teller())
        self.dispatcher = Dispatcher(store, clock, self.lease, self.calls, Settler(store, self.owing, clock, FakeBodies()), self.admission)
        self.control = Control(store, FakeBodies(), clock, self.owing, self.admission)
        self.submitter = Submitter(store, self, FakeBodies(), clock, QUEUE)

    async def through(self, act: Callable[[], Awaitable[Answer]], *, write: bool) -> Answer:
        """Stand at a gate, then act; or be told that it did not work, which for a write may not be true."""
        gate = Gate(self, write, asyncio.get_running_loop().create_future())
        self.world.gates.append(gate)
        try:
            how = await gate.opened
        finally:
            if gate in self.world.gates:
                self.world.gates.remove(gate)
        if how == "away":
            raise UnavailableError
        answer = await act()
        if how == "unseen":
            raise UnclearError
        return answer

    async def create(self, queue: str, name: str, message: Message, at: datetime) -> None:
        """The queue's port."""
        await self.through(lambda: self.world.enqueue(name, message, at), write=False)
        assert queue in {QUEUE, CONTROL}

    async def ping(self, queue: str) -> None:
        """Nobody asks in a storm."""

    async def call(self, request: CallRequest, limits: Limits, on_sent: Callable[[datetime], None]) -> Outcome:
        """The caller's port: a line that the storm ends."""
        assert limits.total
        on_sent(self.world.clock.now())
        line = Line(dict(request.headers)["Longcall-Task"], self, asyncio.get_running_loop().create_future())
        self.world.lines.append(line)
        self.world.check_owned_once(line.task_id)
        try:
            return await line.ends
        finally:
            self.world.lines.remove(line)

    def do(self, work: "Callable[[], Awaitable[object]]") -> None:
        """Begin something; what is our fault or a caller's mistake is an answer like any other."""

        async def done() -> None:
            with suppress(OurFault, CallerMistake):
                await work()

        task = asyncio.create_task(done())
        self.doing.add(task)
        task.add_done_callback(self.doing.discard)

    async def die(self) -> None:
        """Stop everything for ever."""
        self.alive = False
        for task in [*self.doing, *self.calls._work, *(call.running for call in self.calls._held.values())]:  # noqa: SLF001 — a death asks nobody
            if task is not None:
                task.cancel()
        await settled()


@dataclass
class World:
    """The shared store and queue, every process, and what must hold."""

    clock: FakeClock = field(default_factory=FakeClock)
    gates: list[Gate] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    runners: list[Process] = field(default_factory=list)
    apis: list[Process] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)
    lapses: int = 0
    born: int = 0

    def __post_init__(self) -> None:
        """Fill in the store."""
        self.store = MemoryStore(self.clock.now)

    # What the gates lead to

    async def insert(self, task: Task) -> bool:
        """A record appears."""
        return await self.store.insert(task)

    async def replace(self, task: Task, tag: object) -> object:
        """A record changes; an end changes only to run again."""
        before = await self.store.get(task.id)
        written = await self.store.replace(task, tag)
        if written and before is not None:
            retried = task.next_attempt_time is not None and task.budget.tries == 0 and task.failure is None
            assert not before.task.state.ended or retried, f"kept: the end {before.task.state} of {task.id} changed to {task.state}"
            if task.state.ended and callback.wanted(task) is not None:
                self.ends.append((task.id, task.version))
        return written

    async def enqueue(self, name: str, message: Message, at: datetime) -> None:
        """A message appears, unless its name is or was there."""
        self.entries.setdefault(name, Entry(name, message, at))

    def check_owned_once(self, task_id: str) -> None:
        """Two calls of one task run at once only where a lease lapsed while its runner lived."""
        running = [line for line in self.lines if line.task_id == task_id]
        assert len(running) <= 1 + self.lapses, f"owned once: {len(running)} calls of {task_id} run, and {self.lapses} leases had lapsed"

    # What a storm does

    async def start_runner(self) -> Process:
        """A process starts, under a name of its own."""
        self.born += 1
        process = Process(self, f"r-{self.born}")
        await process.lease.beat()
        self.runners.append(process)
        return process

    def submit(self, task_id: str, spec: TaskSpec) -> None:
        """The API creates a task."""
        self._api(lambda api: api.submitter.submit(spec, task_id, None))

    def cancel(self, task_id: str) -> None:
        """The API cancels."""
        self._api(lambda api: api.control.cancel(task_id))

    def retry(self, task_id: str) -> None:
        """The API runs again."""
        self._api(lambda api: api.control.retry(task_id))

    def _api(self, work: Callable[[Process], Awaitable[object]]) -> None:
        api = Process(self, "api")
        self.apis.append(api)
        api.do(lambda: work(api))

    def deliver(self, entry: Entry, runner: Process) -> None:
        """The queue delivers a message: answered 200 it is gone, else it stays."""

        async def dispatch() -> None:
            answer = await runner.dispatcher.dispatch(visit(entry.message))
            entry.gone = entry.gone or answer.status == 200

        runner.do(dispatch)

    async def pass_time(self, seconds: float) -> None:
        """Time passes; leases of runners that live and did not beat may lapse."""
        good = [runner for runner in self.runners if runner.alive and runner.lease.good]
        await self.clock.advance(seconds)
        self.lapses += sum(not runner.lease.good for runner in good)

    async def beat(self, runner: Process) -> None:
        """A sign of life."""
        await runner.lease.beat()
        runner.calls.cancel(await self.store.cancelled(runner.name))

    # What happens anyway

    async def calm_down(self, rounds: int = 150) -> None:
        """No more bad luck: everything that can end ends."""
        for _ in range(rounds):
            if not any(runner.alive for runner in self.runners):
                await self.start_runner()
            alive = [runner for runner in self.runners if runner.alive]
            for runner in alive:
                await self.beat(runner)
            for entry in self.waiting():
                if entry.at <= self.clock.now():
                    self.deliver(entry, alive[0])
            await self._let_everything_through()
            if await self._at_rest():
                return
            await self.clock.advance(7)
        standing = [(task.id, task.state.value, task.version) for task in await self._tasks()]
        raise AssertionError(f"stuck: {standing}, {[entry.name for entry in self.waiting()]}")

    async def _let_everything_through(self) -> None:
        for _ in range(60):
            await settled(6)
            for line in list(self.lines):
                if not line.ends.done():
                    line.ends.set_result(ok(self.clock.now()))
            for gate in list(self.gates):
                if not gate.opened.done():
                    gate.opened.set_result("go")
            if not self.gates and not self.lines:
                await settled(6)
                if not self.gates and not self.lines:
                    return

    async def _tasks(self) -> list[Task]:
        from longcall.engine.ports import Query

        return [task for kind in Kind for task in (await self.store.page(Query(kind=kind, limit=500))).tasks]

    async def _at_rest(self) -> bool:
        tasks = await self._tasks()
        known = {task.id for task in tasks}
        told = all(callback.task_id(task_id, version) in known for task_id, version in self.ends)
        return all(task.state.ended for task in tasks) and told and not any(runner.doing for runner in self.runners if runner.alive)

    def waiting(self) -> list[Entry]:
        """The messages that the queue still has."""
        return [entry for entry in self.entries.values() if not entry.gone]

    async def close(self) -> None:
        """Stop what is left."""
        for process in [*self.runners, *self.apis]:
            await process.die()
