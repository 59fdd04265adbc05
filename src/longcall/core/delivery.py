"""What a delivered message means for its record: the table of DESIGN's dispatch, as one pure function."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import assert_never

from longcall.core.lifecycle import expired
from longcall.core.messages import CallbackMessage, LookMessage
from longcall.core.task import State, Task, TaskSpec, Unreadable
from longcall.core.trace import TraceContext
from longcall.core.wire import differing

PATIENCE_AHEAD = timedelta(minutes=10)
PAST_LIMIT = timedelta(seconds=60)
NAME_KEPT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Me:
    """The runner that got the message: its name, whether it holds this very attempt, and what its own lease allows."""

    name: str
    holds: bool
    lease_good: bool
    may_declare_lost: bool


class Owner(Enum):
    """What is known of the runner that owns a RUNNING task: its lease is good, it ended it itself, or it has fallen silent."""

    ALIVE = "alive"
    ENDED = "ended"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Take:
    """Make the attempt."""


@dataclass(frozen=True, slots=True)
class Expire:
    """End the task: its `taskTimeout` is over."""


@dataclass(frozen=True, slots=True)
class Lose:
    """Settle the running attempt as lost, then look again."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Answer 200: the queue may forget this message. `alarming` ones are errors in the log."""

    why: str
    alarming: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """Answer 429: the queue brings the message again. `soon`: the version it is for is about to be written."""

    why: str
    soon: bool = False


Verdict = Take | Expire | Lose | Nothing | Later


@dataclass(frozen=True, slots=True)
class Visit:
    """A message about a task: which creation of the id it means, for which version it was queued, and for when.

    `asked` reads the task as asked for, which only the message of version 1 carries and only a missing record needs; `caller` is where
    in a trace it was asked for.
    """

    task: str
    created: datetime
    version: int
    at: datetime
    asked: Callable[[], TaskSpec | Unreadable] | None = None
    caller: TraceContext | None = None

    def without_asked(self) -> "Visit":
        """The same, once its record is there."""
        return self if self.asked is None else replace(self, asked=None)


@dataclass(frozen=True, slots=True)
class HandPut:
    """A task that somebody put on the queue by hand; its queue name is its id."""

    name: str
    queue: str
    eta: datetime
    asked: TaskSpec | Unreadable
    caller: TraceContext | None = None


Delivery = Visit | CallbackMessage | HandPut | LookMessage


class Namesake(StrEnum):
    """What a task put by hand is to the newest record of its name."""

    AGAIN = "the same task, delivered again"
    DIFFERS = "another task under a name in use"
    REUSED = "a new task under a name that was free again"


def compare(hand_put: HandPut, newest: Task) -> Namesake:
    """Cloud Tasks keeps a used name for an hour at least: a delivery for a time that long after the end is a task of its own."""
    if newest.finish_time is not None and hand_put.eta >= newest.finish_time + NAME_KEPT:
        return Namesake.REUSED
    return Namesake.AGAIN if _same(hand_put.asked, newest.spec) else Namesake.DIFFERS


def _same(one: TaskSpec | Unreadable, other: TaskSpec | Unreadable) -> bool:
    if isinstance(one, Unreadable) or isinstance(other, Unreadable):
        return isinstance(one, Unreadable) and isinstance(other, Unreadable) and one.raw == other.raw
    return not differing(one, other)


def judge(task: Task, visit: Visit, me: Me, owner: Owner, now: datetime) -> Verdict:
    """Read the table for one record and one message. `owner` counts while another runner owns the task."""
    if visit.created != task.create_time:
        return Nothing("this id was forgotten and used again")
    match task.state:
        case State.RUNNING:
            return _running(task, visit, me, owner, now)
        case State.SUCCEEDED | State.FAILED | State.CANCELLED | State.SCHEDULED | State.WAITING if visit.version > task.version:
            return _ahead(visit, now)
        case State.SCHEDULED | State.WAITING:
            return _waiting(task, visit, me, now)
        case State.SUCCEEDED | State.FAILED | State.CANCELLED:
            return Nothing("ended")
        case _:
            assert_never(task.state)


def _running(task: Task, visit: Visit, me: Me, owner: Owner, now: datetime) -> Verdict:
    mine = task.owner == me.name
    held = me.holds if mine else owner is Owner.ALIVE
    if not held or overdue(task, now):
        return Lose() if may_settle(me, Owner.SILENT if mine or held else owner) else Later("too early to declare its owner lost")
    if visit.version > task.version:
        return Later("its owner is about to write the version this message is for", soon=True)
    return Nothing("it is running")


def may_settle(me: Me, owner: Owner) -> bool:
    """Whether I may settle what another runner left: at once when it ended its lease itself, else only when I may declare it lost."""
    return me.may_declare_lost or (owner is Owner.ENDED and me.lease_good)


def _ahead(visit: Visit, now: datetime) -> Verdict:
    if now < visit.at + PATIENCE_AHEAD:
        return Later("the version this message is for is not written yet", soon=True)
    return Nothing("the version this message is for was never written", alarming=True)


def _waiting(task: Task, visit: Visit, me: Me, now: datetime) -> Verdict:
    due = visit.version == task.version or task.next_attempt_time is None or now >= task.next_attempt_time
    if not due:
        return Nothing("not due: its own message is in the queue")
    if not me.lease_good:
        return Later("this runner's own lease is over")
    return Expire() if expired(task, now) else Take()


def overdue(task: Task, now: datetime) -> bool:
    """Tell whether a running attempt is 60 s past the limit it was given: no live runner lets that happen."""
    if isinstance(task.spec, Unreadable) or task.attempt is None:
        return False
    limit = task.attempt.start_time + task.spec.attempt_timeout
    if task.deadline is not None:
        limit = min(limit, task.deadline)
    return now >= limit + PAST_LIMIT
