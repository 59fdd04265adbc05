"""What a chart shows: tasks counted into buckets, and where the bars stand, as parts of the picture's width and height."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from longcall.core.task import State, Task

# A chart is as wide as what there is to show: so long, in so many buckets.
SPANS = (
    (timedelta(minutes=15), 45),
    (timedelta(hours=1), 60),
    (timedelta(hours=6), 72),
    (timedelta(hours=24), 48),
)
# Seconds up to which a bucket reaches: about a threefold each, at numbers that people use.
EDGES = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120, 300, 1200, 3600, 10800, 28800, 86400)
EDGE_NAMES = ("10ms", "30ms", "100ms", "0.3s", "1s", "3s", "10s", "30s", "2m", "5m", "20m", "1h", "3h", "8h", "24h")
LEAST_SHOWN = 8  # buckets
GAP = 0.18  # of a bar's place


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle: what it stands for, where, and in words."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of time, and how many tasks made their first attempt and ended in it."""

    start: datetime
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """However they ended."""
        return self.succeeded + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Activity:
    """Tasks over time."""

    slots: Sequence[Slot]
    width: timedelta

    @property
    def most(self) -> int:
        """What the tallest bar stands for."""
        return max((max(slot.started, slot.ended) for slot in self.slots), default=0)

    @property
    def end(self) -> datetime:
        """Where the last slot ends."""
        return self.slots[-1].start + self.width

    def total(self, name: str) -> int:
        """Over all slots."""
        return sum(getattr(slot, name) for slot in self.slots)

    def bars(self) -> list[Bar]:
        """What started goes up from the middle; what ended goes down, the failed first, where they are seen best."""
        found: list[Bar] = []
        for number, slot in enumerate(self.slots):
            x, width = (number + GAP / 2) / len(self.slots), (1 - GAP) / len(self.slots)
            scale = 0.5 / max(self.most, 1)
            if slot.started:
                found.append(Bar("started", x, 0.5 - slot.started * scale, width, slot.started * scale))
            y = 0.5
            for kind in ("failed", "cancelled", "succeeded"):
                height = getattr(slot, kind) * scale
                if height:
                    found.append(Bar(kind, x, y, width, height))
                y += height
        return found


def activity(tasks: Iterable[Task], now: datetime) -> Activity:
    """Count starts and ends into slots that end with the one that `now` is in, over as short a span as shows them all."""
    marks = [mark for task in tasks for mark in _marks(task)]
    oldest = min((moment for moment, _ in marks), default=now)
    span, slots = next((each for each in SPANS if _first(now, *each) <= oldest), SPANS[-1])
    width, first = span / slots, _first(now, span, slots)
    counted = Counter(((moment - first) // width, kind) for moment, kind in marks if moment >= first)
    return Activity([_slot(first + width * number, number, counted) for number in range(slots)], width)


def _marks(task: Task) -> list[tuple[datetime, str]]:
    found = [(task.attempts[0].start_time, "started")] if task.attempts else []
    return [*found, (task.finish_time, task.state.value.lower())] if task.finish_time else found


def _first(now: datetime, span: timedelta, slots: int) -> datetime:
    """Where the slots begin; the last of them, which `now` is in, ends later than now, so they reach less far back than their span."""
    return _floor(now, span / slots) - span / slots * (slots - 1)


def _floor(moment: datetime, width: timedelta) -> datetime:
    seconds = int(width.total_seconds())
    return moment - timedelta(seconds=moment.timestamp() % seconds)


def _slot(start: datetime, number: int, counted: Counter[tuple[int, str]]) -> Slot:
    kinds = ("started", *(state.value.lower() for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED)))
    return Slot(start, *(counted[number, kind] for kind in kinds))


@dataclass(frozen=True, slots=True)
class Durations:
    """How long attempts took. `counts` has one more than EDGES: what took longer than the last of them."""

    counts: Sequence[int]
    median: timedelta | None
    most: timedelta | None

    @property
    def total(self) -> int:
        """How many attempts."""
        return sum(self.counts)

    @property
    def shown(self) -> range:
        """The buckets from the first to the last that have something, and some on either side, so that few are not all there is."""
        filled = [number for number, count in enumerate(self.counts) if count]
        if not filled:
            return range(0)
        lacking = max(LEAST_SHOWN - (filled[-1] + 1 - filled[0]), 2)
        first = max(filled[0] - lacking // 2, 0)
        return range(first, min(max(filled[-1] + 2, first + LEAST_SHOWN), len(self.counts)))

    def named(self) -> list[tuple[str, int]]:
        """Each bucket that is shown, in words."""
        return [(_between(number), self.counts[number]) for number in self.shown]

    def bars(self) -> list[Bar]:
        """Where they stand."""
        width, tallest = 1 / max(len(self.shown), 1), max(self.counts, default=0)
        return [
            Bar("took", (place + GAP / 2) * width, 1 - count / tallest, (1 - GAP) * width, count / tallest, f"{words}: {count}")
            for place, (words, count) in enumerate(self.named())
            if count
        ]

    def ticks(self) -> list[tuple[float, str]]:
        """Where one bucket ends and the next begins."""
        shown = self.shown
        return [((place + 1) / len(shown), EDGE_NAMES[number]) for place, number in enumerate(shown[:-1])]


def durations(tasks: Iterable[Task]) -> Durations:
    """Count the attempts that have ended by how long they took."""
    took = sorted(each.end_time - each.start_time for task in tasks for each in task.attempts if each.end_time is not None)
    counts = [0] * (len(EDGES) + 1)
    for each in took:
        counts[bisect_right(EDGES, each.total_seconds())] += 1
    return Durations(counts, _quantile(took, 0.5), _quantile(took, 0.95))


def _quantile(took: Sequence[timedelta], part: float) -> timedelta | None:
    """The shortest that so large a part of them do not exceed."""
    return took[math.ceil(len(took) * part) - 1] if took else None


def _between(number: int) -> str:
    if number == 0:
        return f"under {EDGE_NAMES[0]}"
    return f"{EDGE_NAMES[number - 1]} to {EDGE_NAMES[number]}" if number < len(EDGES) else f"over {EDGE_NAMES[-1]}"
