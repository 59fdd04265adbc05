"""What a version of a record needs in the queue before it is written: its next attempt, or the telling of its end."""

from dataclasses import dataclass

from longcall.core import callback
from longcall.core.messages import CallbackMessage, TaskMessage, message_name
from longcall.core.task import Kind, Task
from longcall.engine.ports import Clock, Queue


@dataclass(frozen=True)
class Owing:
    """Queue first: whoever writes version v+1 has queued before what v+1 needs, so that a death in between loses nothing."""

    queue: Queue
    clock: Clock
    call_queue: str
    control_queue: str

    async def queue_for(self, task: Task, suffix: str = "") -> None:
        """Queue what this version, not written yet, will need. `suffix` makes the name the API's own. Raises UnavailableError."""
        name = message_name(task.id, task.create_time, task.version) + suffix
        if task.next_attempt_time is not None:
            message = TaskMessage(task.id, task.create_time, task.version, task.next_attempt_time)
            await self.queue.create(self.queue_of(task), name, message, task.next_attempt_time)
        elif callback.wanted(task) is not None:
            now = self.clock.now()
            await self.queue.create(
                self.control_queue, f"{name}-callback", CallbackMessage(task.id, task.create_time, task.version, now), now
            )

    def queue_of(self, task: Task) -> str:
        """Calls and their retries go where the operator limits and pauses; callbacks where nobody does."""
        return self.control_queue if task.kind is Kind.CALLBACK else self.call_queue
