"""What those who watch one task are told: its versions as they are seen, up to its end."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum, auto

from longcall.core.errors import NotFoundError, UnavailableError
from longcall.core.task import Task
from longcall.engine import observe
from longcall.engine.control import Control
from longcall.engine.ports import Stored

SILENCE = 15.0  # seconds until a sign of life; whatever lies between drops a connection that stays silent for longer
PAUSE = 1.0  # seconds between looks while the store is away


class Next(Enum):
    """What comes next for one who watches."""

    TELL = auto()
    WAIT = auto()
    END = auto()


def what_next(told: int | None, task: Task) -> Next:
    """Decide by the version told last (None: none yet) and the record as it is now.

    A version below the one told is told as well: that record is a newer one, under an id that was forgotten and used again.
    """
    if task.version != told:
        return Next.TELL
    return Next.END if task.state.ended else Next.WAIT


@dataclass(frozen=True)
class TaskEvents:
    """Watching single tasks. `silence`: seconds without a change until None is given, as a sign of life."""

    control: Control
    silence: float = SILENCE

    async def first(self, task_id: str, patience: float) -> Stored:
        """The record, for an id not seen yet within `patience` seconds. Raises NotFoundError, UnavailableError."""
        stored = await self.control.store.get(task_id)
        if stored is None and patience > 0:
            stored = await self.control.changed(task_id, None, patience)
            if stored is None and self.control.closing.is_set():
                raise UnavailableError("this process is stopping: ask again")
        if stored is None:
            raise NotFoundError(f"there is no task {task_id}")
        return stored

    async def after(self, stored: Stored, told: int | None) -> AsyncGenerator[Task | None, None]:
        """The present version unless it is the one told, and later ones as they are seen; None after each silence.

        Some versions may be skipped, the last never is. It ends after the task's end, when its record is forgotten, or when this
        process is to stop. Nothing is lost between a version and the next: each wait begins by reading. A store that is away is waited for.
        """
        now: Stored | None = stored
        while now is not None and not self.control.closing.is_set():
            match what_next(told, now.task):
                case Next.END:
                    return
                case Next.TELL:
                    told = now.task.version
                    yield now.task
                case Next.WAIT:
                    now = await self._changed(now)
                    if now and now.task.version == told:
                        yield None

    async def _changed(self, known: Stored) -> Stored | None:
        try:
            return await self.control.changed(known.task.id, known, self.silence)
        except UnavailableError as error:
            observe.out_of_reach("store", error)
            await self.control.clock.sleep(PAUSE)
            return known
