"""Making the record of a task that is known only from its message."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from longcall.core import callback, lifecycle
from longcall.core.callback import Teller
from longcall.core.delivery import HandPut, Namesake, Visit, compare
from longcall.core.messages import CallbackMessage
from longcall.core.task import Task, TaskSpec, Unreadable
from longcall.core.trace import TraceContext
from longcall.core.wire import dumps, spec_to_json
from longcall.engine import observe
from longcall.engine.ports import Clock, Store, Stored


@dataclass(frozen=True)
class Admission:
    """Finds the record a message is about, and makes it where only the message knows the task."""

    store: Store
    clock: Clock
    call_queue: str
    control_queue: str
    teller: Teller

    async def find(self, visit: Visit) -> Stored | None:
        """The record; made from the message of version 1 when there is none. None when there is none and the message can't make it."""
        stored = await self.store.get(visit.task)
        if stored is None and visit.asked is not None:
            await self._make(visit.task, visit.asked(), self.call_queue, visit.caller, visit.created)
            stored = await self.store.get(visit.task)
        return stored

    async def admit(self, hand_put: HandPut) -> Visit:
        """The message of version 1 that a task put by hand stands for. Its record is made before room is looked for: nothing vanishes."""
        name, newest, count = hand_put.name, None, 1
        while (stored := await self.store.get(name)) is not None:
            newest, count = stored.task, count + 1
            name = f"{hand_put.name}.{count}"
        task = await self._admitted(hand_put, newest, name)
        if task is None:  # another delivery was quicker
            return await self.admit(hand_put)
        return Visit(task.id, task.create_time, 1, hand_put.eta)

    async def callback(self, message: CallbackMessage) -> Visit | Task | None:
        """The message of version 1 that a callback's stands for, made into a task where its parent wants it told.

        The parent's record when it is behind the message; None when nobody is to be told.
        """
        stored = await self.store.get(message.callback_of)
        parent = stored.task if stored is not None and stored.task.create_time == message.created else None
        if parent is not None and parent.version < message.version:
            return parent
        if parent is not None and parent.version == message.version:
            await self.tell(parent)
        # Read after the parent: whoever moves an end on, or forgets it, has made its callback task before.
        task_id = callback.task_id(message.callback_of, message.version)
        known = await self.store.get(task_id)
        return None if known is None else Visit(task_id, known.task.create_time, 1, message.at)

    async def tell(self, parent: Task) -> None:
        """Make the callback task of an end, if one is wanted and it is not there yet. Raises UnavailableError."""
        wanted = callback.wanted(parent)
        if wanted is None:
            return
        task = self.teller.task(parent, wanted, self.control_queue, self.clock.now())
        if await self.store.insert(task):
            observe.task_created(task, self.clock.now())

    async def _admitted(self, hand_put: HandPut, newest: Task | None, free_name: str) -> Task | None:
        verdict = compare(hand_put, newest) if newest is not None else Namesake.REUSED
        match verdict:
            case Namesake.AGAIN:
                return newest
            case Namesake.DIFFERS:
                return await self._keep_apart(hand_put)
            case Namesake.REUSED:
                return await self._make(free_name, hand_put.asked, hand_put.queue, hand_put.caller)
            case _:
                assert_never(verdict)

    async def _make(
        self, task_id: str, asked: TaskSpec | Unreadable, queue: str, caller: TraceContext | None, created: datetime | None = None
    ) -> Task | None:
        now = created or self.clock.now()
        origin = observe.origin(caller, self.clock)
        if isinstance(asked, Unreadable):
            task = lifecycle.reject(task_id, asked, queue=queue, trace=origin.trace, now=now, origin=origin)
        else:
            task = lifecycle.create(task_id, asked, queue=queue, trace=origin.trace, now=now, origin=origin)
        if not await self.store.insert(task):
            return None
        observe.task_created(task, self.clock.now())
        return task

    async def _keep_apart(self, hand_put: HandPut) -> Task | None:
        asked = hand_put.asked
        raw = asked.raw if isinstance(asked, Unreadable) else dumps(spec_to_json(asked))
        kept_as = f"{hand_put.name}.differs-{hashlib.sha256(raw).hexdigest()[:8]}"
        if (known := await self.store.get(kept_as)) is not None:
            return known.task
        observe.name_in_use(hand_put, kept_as)
        differs = Unreadable(raw, f"a task named {hand_put.name} exists and has other content")
        return await self._make(kept_as, differs, hand_put.queue, hand_put.caller)
