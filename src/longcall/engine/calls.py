"""The calls this runner holds: how many there is room for, making one, and closing them when they are to stop."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from longcall.core import request, signing
from longcall.core.attempt import Break, Broken, Outcome, Trouble, cancelled, drained
from longcall.core.lifecycle import WrongEventError
from longcall.core.messages import record_hash
from longcall.core.task import Kind, StoredBody, Task, TaskSpec, Unreadable
from longcall.engine import observe
from longcall.engine.ports import Caller, CallRequest, Clock

Result = TypeVar("Result")
Stop = Callable[[datetime, datetime | None], Broken]
NO_LIMIT = 1_000_000_000
REPORT_EVERY = 300.0  # seconds


class Seat(Enum):
    """How a call is made: its dispatch held open while it runs, or answered as soon as it is taken."""

    HELD = "held"
    DETACHED = "detached"


@dataclass(frozen=True, slots=True)
class Room:
    """How many calls are held at once, how many of them with their dispatch, and whether the others are detached or refused."""

    max_calls: int
    hold_slots: int = NO_LIMIT
    detach: bool = False


@dataclass(eq=False)
class _Call:
    seat: Seat
    sent_time: datetime | None = None
    running: asyncio.Task[Any] | None = None  # while its request is under way
    task: Task | None = None
    received: int = 0
    stop: Stop | None = None
    closed: bool = False

    def heard(self, size: int) -> None:
        self.received += size

    def left(self, at: datetime) -> None:
        self.sent_time = at

    def end(self, stop: Stop) -> None:
        self.stop = self.stop or stop
        if self.running is not None and not self.closed:
            self.closed = True
            self.running.cancel()


def body_key(task: Task) -> str:
    """The body store's key of a request body too large for a message."""
    return f"requests/{record_hash(task.id, task.create_time)}"


def response_key(task: Task) -> str:
    """The body store's key of the present attempt's response body."""
    return f"responses/{record_hash(task.id, task.create_time)}-{task.attempt_count}"


def body_keys(task: Task) -> list[str]:
    """The body store's keys of everything this record refers to there."""
    stored = not isinstance(task.spec, Unreadable) and isinstance(task.spec.request.body, StoredBody)
    keys = [body_key(task)] if stored else []
    if task.response is not None and task.response.location is not None:
        keys.append(task.response.location)
    return keys


@dataclass
class Calls:
    """Every call of this process, from before its take is written until its settle is known to have landed."""

    caller: Caller
    clock: Clock
    agent: str
    room: Room
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    closing: bool = False
    draining: bool = False
    _held: dict[tuple[str, int], _Call] = field(default_factory=dict)
    _seated: int = 0
    _work: set[asyncio.Task[Any]] = field(default_factory=set)

    def __len__(self) -> int:
        """How many calls are held."""
        return len(self._held)

    def seat(self, kind: Kind) -> Seat | None:
        """How one more call may be made; None when there is no room. A tenth of the room, rounded up, is kept for callbacks."""
        kept = math.ceil(self.room.max_calls / 10) if kind is Kind.CALL else 0
        if self.closing or len(self._held) >= self.room.max_calls - kept:
            return None
        if self._seated < self.room.hold_slots:
            return Seat.HELD
        return Seat.DETACHED if self.room.detach else None

    def ages(self) -> list[float]:
        """Seconds since each call that is held was begun."""
        now = self.clock.now()
        return [(now - call.task.attempts[-1].start_time).total_seconds() for call in self._held.values() if call.task is not None]

    def holds(self, task: Task) -> bool:
        """Whether this very attempt is held here."""
        return (task.id, task.attempt_count) in self._held

    def hold(self, task: Task, seat: Seat) -> bool:
        """Count an attempt as held: before its take is written. False when another dispatch of this runner is taking it just now."""
        if self.holds(task):
            return False
        self._held[task.id, task.attempt_count] = _Call(seat)
        self._seated += seat is Seat.HELD
        return True

    def release(self, task: Task) -> None:
        """Forget an attempt: when its settle is known to have landed, or its take not to have."""
        call = self._held.pop((task.id, task.attempt_count), None)
        self._seated -= call is not None and call.seat is Seat.HELD

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Let work go on whatever becomes of the dispatch that began it: somebody's request is running over there."""
        running = asyncio.create_task(work)
        self._work.add(running)
        running.add_done_callback(self._work.discard)
        return running

    async def make(self, task: Task) -> Outcome:
        """Make the attempt that the record was just taken for, and hold it until it ends or is stopped."""
        observe.attempt_started(task)
        call = self._held[task.id, task.attempt_count]
        call.task = task
        if (stop := call.stop or (drained if self.draining else None)) is not None:
            return stop(self.clock.now(), None)  # asked for while its take was written; a cancel now could strike the settle
        me = call.running = asyncio.current_task()
        try:
            return await self._call(task, call)
        except asyncio.CancelledError:
            if call.stop is None or not call.closed or me is None or me.uncancel() > 0:
                raise  # not the call alone is to end: this runner gives up
            return call.stop(self.clock.now(), call.sent_time)
        finally:
            call.running = None

    async def report(self) -> None:
        """Say for ever, every few minutes, which calls are still there: of a call of hours the log is not silent."""
        while True:
            await self.clock.sleep(REPORT_EVERY)
            now = self.clock.now()
            for call in list(self._held.values()):
                if call.task is not None and (held := now - call.task.attempts[-1].start_time).total_seconds() >= REPORT_EVERY:
                    observe.attempt_held(call.task, held, call.received)

    def cancel(self, task_ids: Sequence[str]) -> None:
        """Close the calls of these tasks: their callers asked for it."""
        wanted = set(task_ids)
        for (task_id, _), call in list(self._held.items()):
            if task_id in wanted:
                call.end(cancelled)

    def close(self) -> None:
        """Take no more; what is held goes on."""
        self.closing = True

    async def drain(self) -> None:
        """Take no more, and close every call; each settles as drained. Returns when all are settled."""
        self.close()
        self.draining = True
        for call in list(self._held.values()):
            call.end(drained)
        await self.idle()

    async def abandon(self) -> None:
        """Stop whatever is left without another write."""
        work = list(self._work)
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until no call is held any more."""
        while self._work:
            await asyncio.wait(self._work)

    async def _call(self, task: Task, call: _Call) -> Outcome:
        spec, now = _readable(task), self.clock.now()
        limits = request.limits(task, spec, now)
        asked = self._asked(task, spec, now, now + limits.total, call)
        return asked if isinstance(asked, Broken) else await self.caller.call(asked, limits, call.left)

    def _asked(self, task: Task, spec: TaskSpec, now: datetime, deadline: datetime, call: _Call) -> CallRequest | Broken:
        """What goes out. Made apart from the call, which keeps for its hours whatever it has at hand."""
        headers = dict(request.headers(task, spec, deadline, self.agent))
        if spec.sign_with is not None:
            secrets = self.secrets.get(spec.sign_with)
            if not secrets or isinstance(spec.request.body, StoredBody):
                return Broken(Break.UNREACHABLE, Trouble("NO_SECRET", f"no webhook secret named {spec.sign_with} is configured here"), now)
            headers |= signing.headers(secrets, task.id, now, spec.request.body)
        stored = body_key(task) if isinstance(spec.request.body, StoredBody) else None
        return CallRequest(spec.request, tuple(headers.items()), stored, response_key(task), call.heard)


def _readable(task: Task) -> TaskSpec:
    if isinstance(task.spec, Unreadable):
        raise WrongEventError(f"task {task.id} can't be read, so it can't be called")
    return task.spec
