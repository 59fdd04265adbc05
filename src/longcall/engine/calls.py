"""The calls this runner holds: how many there is room for, making one, and closing them all when the runner is to stop."""

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from longcall.core import request
from longcall.core.attempt import Outcome, drained
from longcall.core.lifecycle import WrongEventError
from longcall.core.task import Kind, StoredBody, Task, TaskSpec, Unreadable
from longcall.core.wire import record_hash
from longcall.engine import observe
from longcall.engine.ports import Caller, CallRequest, Clock

Result = TypeVar("Result")


@dataclass
class _Sent:
    at: datetime | None = None

    def mark(self, at: datetime) -> None:
        self.at = at


def body_key(task: Task) -> str:
    """The body store's key of a request body too large for a message."""
    return f"requests/{record_hash(task.id, task.create_time)}"


def response_key(task: Task) -> str:
    """The body store's key of the present attempt's response body."""
    return f"responses/{record_hash(task.id, task.create_time)}-{task.attempt_count}"


@dataclass
class Calls:
    """Every call of this process, from before its take is written until its settle is known to have landed."""

    caller: Caller
    clock: Clock
    agent: str
    limit: int
    draining: bool = False
    _held: set[tuple[str, int]] = field(default_factory=set)
    _open: set[asyncio.Task[Outcome]] = field(default_factory=set)
    _work: set[asyncio.Task[Any]] = field(default_factory=set)

    def __len__(self) -> int:
        """How many calls are held."""
        return len(self._held)

    def room(self, kind: Kind) -> bool:
        """Whether one more may be taken. A tenth of the room, rounded up, is kept for callbacks."""
        kept = math.ceil(self.limit / 10) if kind is Kind.CALL else 0
        return not self.draining and len(self._held) < self.limit - kept

    def holds(self, task: Task) -> bool:
        """Whether this very attempt is held here."""
        return (task.id, task.attempt_count) in self._held

    def hold(self, task: Task) -> None:
        """Count an attempt as held: before its take is written."""
        self._held.add((task.id, task.attempt_count))

    def release(self, task: Task) -> None:
        """Forget an attempt: when its settle is known to have landed, or its take not to have."""
        self._held.discard((task.id, task.attempt_count))

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Let work go on whatever becomes of the dispatch that began it: somebody's request is running over there."""
        running = asyncio.create_task(work)
        self._work.add(running)
        running.add_done_callback(self._work.discard)
        return running

    async def make(self, task: Task) -> Outcome:
        """Make the attempt that the record was just taken for, and hold it until it ends."""
        observe.attempt_started(task)
        sent = _Sent()
        call = asyncio.create_task(self._call(task, sent))
        self._open.add(call)
        try:
            if self.draining:
                call.cancel()
            return await call
        except asyncio.CancelledError:
            if not self.draining:
                raise
            return drained(self.clock.now(), sent.at)
        finally:
            self._open.discard(call)

    async def _call(self, task: Task, sent: _Sent) -> Outcome:
        spec, now = _readable(task), self.clock.now()
        limits = request.limits(task, spec, now)
        headers = request.headers(task, spec, now + limits.total, self.clock.new_hex(16), self.agent)
        stored = body_key(task) if isinstance(spec.request.body, StoredBody) else None
        return await self.caller.call(CallRequest(spec.request, headers, stored, response_key(task)), limits, sent.mark)

    async def drain(self) -> None:
        """Close every call; each settles as drained. Returns when all are settled. Takes no more from now on."""
        self.draining = True
        for call in self._open:
            call.cancel()
        while self._work:
            await asyncio.wait(self._work)


def _readable(task: Task) -> TaskSpec:
    if isinstance(task.spec, Unreadable):
        raise WrongEventError(f"task {task.id} can't be read, so it can't be called")
    return task.spec
