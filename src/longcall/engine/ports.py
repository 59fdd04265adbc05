"""What the engine needs of the world, in its own words. Every store, caller and queue answers to these and to nothing else."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from longcall.core.attempt import Outcome
from longcall.core.messages import Message
from longcall.core.request import Limits
from longcall.core.task import HttpRequest, Kind, State, Task


class Stored(NamedTuple):
    """A record as read, and the tag that `replace` compares: opaque, the store's own."""

    task: Task
    tag: object


@dataclass(frozen=True, slots=True)
class Query:
    """Which tasks, newest first. Everything given must hold; of `states` one. `token` comes from the page before."""

    kind: Kind = Kind.CALL
    states: frozenset[State] = frozenset()
    label: tuple[str, str] | None = None
    reason: str | None = None
    host: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    overdue_at: datetime | None = None
    limit: int = 50
    token: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of tasks; an empty `next_token` means the last one."""

    tasks: Sequence[Task]
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks stand where. `overdue`: not ended and five minutes past their next attempt's time. `oldest`: of those not ended."""

    by_state: dict[State, int] = field(default_factory=dict)
    overdue: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner's sign of life. `beat_time` is the store's own clock's; `drained` means all its calls are to be settled as drained."""

    name: str
    start_time: datetime
    beat_time: datetime
    age: timedelta = timedelta()
    calls: int = 0
    drained: bool = False
    gone: bool = False


class Store(Protocol):
    """Records by id.

    A write that may or may not have landed raises UnclearError, a store out of reach UnavailableError, and reading a record of a
    newer release NewerSchemaError.
    """

    async def insert(self, task: Task) -> bool:
        """Write a new record. False when the id is taken."""
        ...

    async def get(self, task_id: str) -> Stored | None:
        """Read one record."""
        ...

    async def replace(self, task: Task, tag: object) -> object:
        """Write the record's next version if it still is as it was read under this tag: the new version's tag, or None when it is not."""
        ...

    async def delete(self, task: Task, tag: object) -> bool:
        """Forget the record if it still is as it was read under this tag. False when it is not."""
        ...

    async def page(self, query: Query) -> Page:
        """List records, newest first by (createTime, id); stable under inserts. Raises InvalidArgumentError for a bad token."""
        ...

    async def counts(self, now: datetime) -> Counts:
        """Count records of kind `call`."""
        ...

    async def owned(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner; of every runner for an empty name."""
        ...

    async def cancelled(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner whose cancel was asked for."""
        ...

    async def beat(self, runner: Runner) -> None:
        """Write a runner's sign of life; the store sets `beat_time` by its own clock."""
        ...

    async def runner(self, name: str) -> Runner | None:
        """Read a runner's sign of life, with its `age` by the store's own clock."""
        ...

    async def runners(self) -> Sequence[Runner]:
        """List all runners known."""
        ...

    async def purge(self, before: datetime, limit: int) -> Sequence[Task]:
        """Forget tasks of every kind that ended before then, at most so many, and return them; and runners silent since then."""
        ...

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait up to `patience` seconds for a version above `after` and return what is there then; None when there is no record."""
        ...

    async def ping(self) -> None:
        """Raise UnavailableError when out of reach."""
        ...


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One attempt's request as it goes out. `body_key` names a body too large to be carried along.

    `on_received` is called with the number of bytes whenever some of the response's body have come.
    """

    request: HttpRequest
    headers: tuple[tuple[str, str], ...]
    body_key: str | None
    response_key: str
    on_received: Callable[[int], None] = field(default=lambda _: None, repr=False, compare=False)


class Caller(Protocol):
    """The way out to targets. Never raises but for cancellation: every end is an Outcome."""

    async def call(self, request: CallRequest, limits: Limits, on_sent: Callable[[datetime], None]) -> Outcome:
        """Make one HTTP request and hold it until it ends. `on_sent` is called just before the first byte is written."""
        ...


class Queue(Protocol):
    """Cloud Tasks, or the embedded queue. Raises UnavailableError when out of reach."""

    async def create(self, queue: str, name: str, message: Message, at: datetime) -> None:
        """Put a message; one whose name is or was there is success and changes nothing."""
        ...

    async def ping(self, queue: str) -> None:
        """Raise UnavailableError when out of reach."""
        ...


class Bodies(Protocol):
    """Bodies too large for a record, under keys. Raises UnavailableError when out of reach."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a body; it is durable when this returns. The last one under a key counts."""
        ...

    def open(self, key: str) -> AsyncIterator[bytes]:
        """Read a body in chunks. Raises NotFoundError when there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Forget a body, also one that is not there."""
        ...

    async def ping(self) -> None:
        """Raise UnavailableError when out of reach."""
        ...

    async def link(self, key: str, seconds: int) -> str | None:
        """A URL by which whoever has it reads a body for so long. None where there can be none; `open` reads it all the same."""
        ...


class Clock(Protocol):
    """Time, chance and ids."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def chance(self) -> float:
        """0 up to 1, uniform."""
        ...

    def new_id(self) -> str:
        """A UUIDv4."""
        ...

    def new_hex(self, digits: int) -> str:
        """So many random hex digits."""
        ...
