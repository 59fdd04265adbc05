"""A task's attempts on one axis of time: what was waited for, what ran, how it ended, and where it was cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from longcall.core.attempt import RESPONSE, Attempt, Break
from longcall.core.task import Task

LEAST = 0.004  # of the axis: what is shorter is drawn as long, so that it is seen
LATE = timedelta(minutes=5)  # past an attempt's time, as for what is overdue
LONG, SHORTENED = 0.5, 0.2  # of all the rest: an idle stretch over the first is drawn as long as the second


class Phase(StrEnum):
    """What happens in a stretch of time."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of one attempt, as parts of the axis."""

    phase: Phase
    start: float
    width: float
    length: timedelta


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt. `cut`: where it broke off, as a part of the axis. `attempt` None: the next one, which has not begun."""

    number: int
    attempt: Attempt | None
    end: str
    bars: Sequence[Bar]
    cut: float | None = None
    omitted: int = 0

    def length(self, phase: str) -> timedelta | None:
        """How long a phase took; None when it did not happen."""
        return next((bar.length for bar in self.bars if bar.phase == phase), None)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch in which nothing ran and nobody's policy waited, drawn shorter than it was."""

    start: float
    width: float
    length: timedelta


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows, from `start` to `end`."""

    start: datetime
    end: datetime
    rows: Sequence[Row]
    gaps: Sequence[Gap] = ()
    now: float | None = None


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A phase before it is drawn. `idle`: it waits for a time or a person, not by the policy."""

    phase: Phase
    start: datetime
    end: datetime
    idle: bool = False


@dataclass(frozen=True, slots=True)
class _Axis:
    """Times, and where they are drawn; even in between."""

    marks: Sequence[tuple[datetime, float]] = field(default_factory=tuple)

    def place(self, moment: datetime) -> float:
        """Where a moment is drawn."""
        for (left, x), (right, y) in pairwise(self.marks):
            if left <= moment <= right and right > left:
                return x + (y - x) * ((moment - left) / (right - left))
        return 0.0 if not self.marks or moment <= self.marks[0][0] else 1.0


def timeline(task: Task, now: datetime) -> Timeline | None:
    """Lay out a task's attempts; None where none was made and none is to come."""
    laid = [(attempt, list(_stretches(task, attempt, before, now))) for before, attempt in pairwise((None, *task.attempts)) if attempt]
    coming = list(_coming(task, now))
    stretches = [each for _, parts in laid for each in parts] + coming
    if not stretches:
        return None
    start, end = min(each.start for each in stretches), max(each.end for each in stretches)
    axis, gaps = _axis(stretches, start, end)
    rows = [_row(axis, attempt, parts) for attempt, parts in laid]
    rows = [_after_omitted(row, before) for before, row in pairwise((None, *rows)) if row]
    if coming:
        rows.append(Row(task.attempt_count + 1, None, "next", [_bar(axis, each) for each in coming]))
    return Timeline(start, end, rows, gaps, axis.place(now) if not task.state.ended and now < end else None)


def _stretches(task: Task, attempt: Attempt, before: Attempt | None, now: datetime) -> Iterator[_Stretch]:
    ready = task.create_time if before is None else before.end_time
    follows = before is None or before.number + 1 == attempt.number  # else those in between are not in the record any more
    if ready is not None and ready < attempt.start_time and follows:
        yield _Stretch(Phase.WAITING, ready, attempt.start_time, _is_idle(before, attempt.start_time))
    end = max(attempt.end_time or now, attempt.start_time)
    sent = _sent(attempt, end)
    if sent > attempt.start_time:
        yield _Stretch(Phase.CONNECTING, attempt.start_time, sent)
    if sent < end or sent == attempt.start_time:
        yield _Stretch(Phase.RUNNING, sent, end)


def _is_idle(before: Attempt | None, until: datetime) -> bool:
    """Whether a wait is for a time, a person or a queue that was paused, and not for the policy."""
    return before is None or before.retry_time is None or until - before.retry_time > LATE


def _sent(attempt: Attempt, end: datetime) -> datetime:
    """When the request went out. Of one that never did, the end; of a lost one and one under way nobody knows, so the start."""
    if attempt.sent_time is not None:
        return min(max(attempt.sent_time, attempt.start_time), end)
    return end if attempt.outcome is not None and not attempt.may_have_run else attempt.start_time


def _coming(task: Task, now: datetime) -> Iterator[_Stretch]:
    if task.next_attempt_time is None or task.state.ended:
        return
    last = task.attempt
    since = task.create_time if last is None else last.end_time or task.update_time
    until = max(task.next_attempt_time, now)
    yield _Stretch(Phase.WAITING, min(since, until), until, _is_idle(last, until))


def _axis(stretches: Sequence[_Stretch], start: datetime, end: datetime) -> tuple[_Axis, list[Gap]]:
    """Long idle stretches are drawn shorter, so that a task that was put off for a day still shows what it did."""
    idle = [each for each in stretches if each.idle]
    rest = (end - start) - sum((each.end - each.start for each in idle), timedelta())
    short = {each.start: rest * SHORTENED for each in idle if rest and each.end - each.start > rest * LONG}
    edges = sorted({start, end, *(moment for each in idle for moment in (each.start, each.end))})
    drawn = [short.get(left, right - left) for left, right in pairwise(edges)]
    whole = sum(drawn, timedelta()) or timedelta(microseconds=1)
    marks, at = [(edges[0], 0.0)], timedelta()
    for right, length in zip(edges[1:], drawn, strict=True):
        at += length
        marks.append((right, at / whole))
    axis = _Axis(marks)
    ends = {each.start: each.end for each in idle}
    return axis, [Gap(axis.place(left), axis.place(ends[left]) - axis.place(left), ends[left] - left) for left in sorted(short)]


def _row(axis: _Axis, attempt: Attempt, parts: Sequence[_Stretch]) -> Row:
    cut = attempt.end_time is not None and attempt.outcome not in {RESPONSE, Break.REFUSED, Break.UNREACHABLE}
    return Row(attempt.number, attempt, _end(attempt), [_bar(axis, each) for each in parts], axis.place(parts[-1].end) if cut else None)


def _end(attempt: Attempt) -> str:
    """How it ended, in the words that pages colour by."""
    if attempt.outcome is None or attempt.outcome == Break.CANCELLED:
        return attempt.outcome or "running"
    return "succeeded" if attempt.outcome == RESPONSE and attempt.trouble is None else "failed"


def _bar(axis: _Axis, stretch: _Stretch) -> Bar:
    left, right = axis.place(stretch.start), axis.place(stretch.end)
    width = max(right - left, LEAST)
    return Bar(stretch.phase, min(left, 1 - width), width, stretch.end - stretch.start)


def _after_omitted(row: Row, before: Row | None) -> Row:
    """Of many attempts the record keeps the first and the last."""
    omitted = row.number - before.number - 1 if before else 0
    return Row(row.number, row.attempt, row.end, row.bars, row.cut, omitted)
