"""When which task is due: a heap of times, from which entries can also be taken out."""

import heapq
from collections.abc import Iterable
from datetime import datetime

_SLACK = 1024


class Schedule:
    """The waiting tasks of one queue, by their numbers. All operations are O(log n)."""

    def __init__(self, entries: Iterable[tuple[datetime, int]] = ()) -> None:
        self._heap = list(entries)
        self._due = {number: due for due, number in self._heap}
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._due)

    def add(self, number: int, due: datetime) -> None:
        """Make the task due at ``due``; if it waits already, then instead of what was."""
        self._due[number] = due
        heapq.heappush(self._heap, (due, number))

    def remove(self, number: int) -> None:
        """Forget the task; it need not wait here."""
        if self._due.pop(number, None) is not None and len(self._heap) > 2 * len(self._due) + _SLACK:
            # What was removed stays in the heap until its time, which may be a month ahead: don't let it pile up.
            self._heap = [(due, waiting) for waiting, due in self._due.items()]
            heapq.heapify(self._heap)

    def next_due(self) -> datetime | None:
        """Return when the first task is due, None when none waits."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now: datetime, most: int) -> list[int]:
        """Take out at most ``most`` tasks that are due, in the order of their times."""
        taken: list[int] = []
        while len(taken) < most and (due := self.next_due()) is not None and due <= now:
            number = heapq.heappop(self._heap)[1]
            del self._due[number]
            taken.append(number)
        return taken
