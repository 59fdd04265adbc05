"""Making a task through the API: queue first, then the record."""

from contextlib import suppress
from dataclasses import dataclass, replace

from longcall.core import lifecycle
from longcall.core.errors import AlreadyExistsError, MayExistError, OurFault, TooLargeError, UnavailableError
from longcall.core.messages import TaskMessage, message_name, message_to_json
from longcall.core.task import StoredBody, Task, TaskSpec, Unreadable
from longcall.core.trace import TraceContext
from longcall.core.wire import body_digest, differing, dumps, spec_to_json
from longcall.engine import observe
from longcall.engine.calls import body_key
from longcall.engine.chunks import whole
from longcall.engine.ports import Bodies, Clock, Queue, Store

MAX_MESSAGE_BYTES = 90_000


@dataclass(frozen=True, slots=True)
class Submitted:
    """The task that now exists; `created` is False when it did before."""

    task: Task
    created: bool


@dataclass(frozen=True)
class Submitter:
    """Everything a submit needs."""

    store: Store
    queue: Queue
    bodies: Bodies
    clock: Clock
    call_queue: str

    async def submit(self, spec: TaskSpec, task_id: str | None, caller: TraceContext | None) -> Submitted:
        """Create a task, or find the same one. `caller` is the span it is asked for in.

        Raises AlreadyExistsError when the id has other content, UnavailableError when nothing was made, and MayExistError when
        that is not known.
        """
        if task_id is not None and (stored := await self.store.get(task_id)) is not None:
            return Submitted(_same(stored.task, spec), created=False)
        origin = observe.origin(caller, self.clock)
        task = lifecycle.create(
            task_id or self.clock.new_id(),
            spec,
            queue=self.call_queue,
            trace=origin.trace,
            now=self.clock.now(),
            origin=origin,
        )
        task, message = await self._fitted(task, spec, caller)
        name = f"{message_name(task.id, task.create_time, task.version)}-{self.clock.new_hex(8)}"
        await self.queue.create(self.call_queue, name, message, message.at)
        return await self._insert(task, spec)

    async def _fitted(self, task: Task, spec: TaskSpec, caller: TraceContext | None) -> tuple[Task, TaskMessage]:
        """Keep a body that would make the message too large in the body store instead."""
        at = task.next_attempt_time or task.create_time
        message = TaskMessage(task.id, task.create_time, task.version, at, spec_to_json(spec), caller)
        body = spec.request.body
        if isinstance(body, StoredBody) or len(dumps(message_to_json(message))) <= MAX_MESSAGE_BYTES:
            return task, message
        stored = StoredBody(len(body), body_digest(body))
        fitted = replace(spec, request=replace(spec.request, body=stored))
        without = replace(message, create=spec_to_json(fitted))
        if (size := len(dumps(message_to_json(without)))) > MAX_MESSAGE_BYTES:
            raise TooLargeError(f"without its body the task has {size} bytes, and at most {MAX_MESSAGE_BYTES} fit: use fewer headers")
        await self.bodies.put(body_key(task), whole(body))
        return replace(task, spec=fitted), without

    async def _insert(self, task: Task, spec: TaskSpec) -> Submitted:
        try:
            if await self.store.insert(task):
                observe.task_created(task, self.clock.now())
                return Submitted(task, created=True)
            stored = await self.store.get(task.id)
        except UnavailableError as error:
            return await self._read_back(task, error)
        if stored is None:  # forgotten since: what was queued makes it anew
            raise MayExistError(task.id)
        ours = stored.task.create_time == task.create_time
        if not ours:
            await self._forget_body(task)
        return Submitted(_same(stored.task, spec), created=ours)

    async def _forget_body(self, task: Task) -> None:
        """Delete the body of a submit that another one was quicker than: no record refers to it, and what was queued finds the other's.

        Should that one be forgotten before the message comes, a task without a body is made, which never reaches its target: nobody was
        promised another.
        """
        if not isinstance(task.spec, Unreadable) and isinstance(task.spec.request.body, StoredBody):
            with suppress(OurFault):
                await self.bodies.delete(body_key(task))

    async def _read_back(self, task: Task, error: UnavailableError) -> Submitted:
        try:
            stored = await self.store.get(task.id)
        except UnavailableError:
            stored = None
        if stored is None or stored.task.create_time != task.create_time:
            raise MayExistError(task.id) from error
        return Submitted(stored.task, created=True)


def _same(task: Task, spec: TaskSpec) -> Task:
    differs = ("",) if isinstance(task.spec, Unreadable) else differing(spec, task.spec)
    if differs:
        raise AlreadyExistsError(task.id, differs)
    return task
