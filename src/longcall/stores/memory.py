"""Records in memory, for tests and for trying things out: gone with the process."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from longcall.core.task import ENDS, Kind, State, Task
from longcall.core.text import parse_time, time_text
from longcall.engine.ports import Counts, Page, Query, Runner, Stored
from longcall.stores.paging import Place, place_of, token_of
from longcall.stores.rows import DUE_STATES, NOT_ENDED, Row, labels_of, overdue_before, row_of, task_of
from longcall.stores.waiters import Waiters


@dataclass(frozen=True, slots=True)
class _Record:
    row: Row
    labels: Mapping[str, str]

    @property
    def place(self) -> Place:
        return Place(self.row.create_time, self.row.id)


class MemoryStore:
    """A `Store` in this process. Records are kept as their JSON, as in a database, so nobody can change one from outside."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._records: dict[str, _Record] = {}
        self._runners: dict[str, Runner] = {}
        self._waiters = Waiters()

    async def insert(self, task: Task) -> bool:
        """Write a new record. False when the id is taken."""
        if task.id in self._records:
            return False
        self._write(_Record(row_of(task), dict(labels_of(task))))
        return True

    async def get(self, task_id: str) -> Stored | None:
        """Read one record. Raises NewerSchemaError."""
        record = self._records.get(task_id)
        return Stored(task_of(record.row.doc), record.row.version) if record else None

    async def replace(self, task: Task, tag: object) -> object:
        """Write the record's next version if it still is as it was read under this tag: its new tag, or None when it is not."""
        row, record = row_of(task), self._records.get(task.id)
        if record is None or (record.row.version, record.row.create_time) != (tag, row.create_time):
            return None
        self._write(_Record(row, record.labels))
        return row.version

    async def delete(self, task: Task, tag: object) -> bool:
        """Forget the record if it still is as it was read under this tag. False when it is not."""
        record = self._records.get(task.id)
        if record is None or (record.row.version, record.row.create_time) != (tag, time_text(task.create_time)):
            return False
        self._forget(task.id)
        return True

    async def page(self, query: Query) -> Page:
        """List records, newest first. Raises InvalidArgumentError for a bad token, NewerSchemaError."""
        after, wanted = place_of(query.token), _filter(query)
        found = [record for record in self._records.values() if (after is None or record.place < after) and wanted(record)]
        found.sort(key=lambda record: record.place, reverse=True)
        tasks = [task_of(record.row.doc) for record in found[: query.limit]]
        return Page(tasks, token_of(found[query.limit - 1].place) if len(found) > query.limit else "")

    async def counts(self, now: datetime) -> Counts:
        """Count records of kind `call`."""
        calls = [record.row for record in self._records.values() if record.row.kind == Kind.CALL]
        return Counts(
            by_state={State(state): number for state, number in Counter(row.state for row in calls).items()},
            overdue=sum(_overdue(row, overdue_before(now)) for row in calls),
            oldest=min((parse_time(row.create_time) for row in calls if row.state in NOT_ENDED), default=None),
        )

    async def owned(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner; of every runner for an empty name."""
        return sorted(row.id for row in self._running() if not owner or row.owner == owner)

    async def cancelled(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner whose cancel was asked for."""
        return sorted(row.id for row in self._running() if row.cancel_owner == owner)

    async def beat(self, runner: Runner) -> None:
        """Write a runner's sign of life at this process's own time."""
        self._runners[runner.name] = replace(runner, beat_time=self._now())

    async def runner(self, name: str) -> Runner | None:
        """Read a runner's sign of life."""
        runner = self._runners.get(name)
        return replace(runner, age=self._now() - runner.beat_time) if runner else None

    async def runners(self) -> Sequence[Runner]:
        """List all runners known, by name."""
        now = self._now()
        return [replace(runner, age=now - runner.beat_time) for _, runner in sorted(self._runners.items())]

    async def purge(self, before: datetime, limit: int) -> Sequence[Task]:
        """Forget and return tasks that ended before then, longest ended first; forget runners silent since. Raises NewerSchemaError."""
        moment = time_text(before)
        ended = [row for row in self._rows() if row.state in ENDS and row.finish_time and row.finish_time < moment]
        ended.sort(key=lambda row: (row.finish_time, row.id))
        gone = [task_of(row.doc) for row in ended[:limit]]
        for task in gone:
            self._forget(task.id)
        self._runners = {name: runner for name, runner in self._runners.items() if runner.beat_time >= before}
        return gone

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait up to `patience` seconds for a version above `after` and return what is there then. Raises NewerSchemaError."""
        return await self._waiters.changed(self.get, task_id, after, patience)

    async def ping(self) -> None:
        """Memory is always in reach."""

    def _forget(self, task_id: str) -> None:
        del self._records[task_id]
        self._waiters.wake(task_id)

    def _write(self, record: _Record) -> None:
        self._records[record.row.id] = record
        self._waiters.wake(record.row.id)

    def _rows(self) -> list[Row]:
        return [record.row for record in self._records.values()]

    def _running(self) -> list[Row]:
        return [row for row in self._rows() if row.state == State.RUNNING]


def _overdue(row: Row, before: str) -> bool:
    return row.state in DUE_STATES and row.next_attempt_time is not None and row.next_attempt_time < before


def _filter(query: Query) -> Callable[[_Record], bool]:
    """Make one test of all that was asked for."""
    tests: list[Callable[[_Record], bool]] = [lambda record: record.row.kind == query.kind]
    if query.states:
        tests.append(lambda record: record.row.state in query.states)
    if query.label is not None:
        key, value = query.label
        tests.append(lambda record: record.labels.get(key) == value)
    if query.reason is not None:
        tests.append(lambda record: record.row.reason == query.reason)
    if query.host is not None:
        tests.append(lambda record: record.row.host == query.host)
    tests.extend(_time_tests(query))
    return lambda record: all(test(record) for test in tests)


def _time_tests(query: Query) -> list[Callable[[_Record], bool]]:
    tests: list[Callable[[_Record], bool]] = []
    if query.created_after is not None:
        after = time_text(query.created_after)
        tests.append(lambda record: record.row.create_time > after)
    if query.created_before is not None:
        before = time_text(query.created_before)
        tests.append(lambda record: record.row.create_time < before)
    if query.updated_after is not None:
        since = time_text(query.updated_after)
        tests.append(lambda record: record.row.update_time > since)
    if query.overdue_at is not None:
        due = overdue_before(query.overdue_at)
        tests.append(lambda record: _overdue(record.row, due))
    return tests
