"""Records in Firestore: a document each, compared and set by the time of its last write, without transactions or retries."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.base_query import FieldFilter

from longcall.core.errors import UnavailableError
from longcall.core.task import Kind, State, Task
from longcall.core.text import parse_time
from longcall.engine.ports import Counts, Page, Query, Runner, Stored
from longcall.stores.firestore_documents import (
    MAX_NAME_BYTES,
    Snapshot,
    key_of,
    name_of,
    new_fields,
    next_fields,
    read_runner,
    read_task,
    runner_fields,
)
from longcall.stores.firestore_errors import FAILURES, write_error
from longcall.stores.firestore_page import page
from longcall.stores.firestore_polls import Polls
from longcall.stores.firestore_reads import Reads
from longcall.stores.rows import NOT_ENDED, overdue_before

Written = TypeVar("Written")

TASKS, RUNNERS = "longcallTasks", "longcallRunners"
WRITE_LIMIT = 5.0  # seconds


class FirestoreStore:
    """A `Store` in one Firestore database. A tag is the time of a document's last write.

    `changed` is woken by this process's own writes, and reads again every 1 s to 5 s for those of others.
    """

    def __init__(
        self, client: AsyncClient, now: Callable[[], datetime], retention: timedelta, tasks: str = TASKS, runners: str = RUNNERS
    ) -> None:
        self._client = client
        self._now = now
        self._retention = retention
        self._tasks = client.collection(tasks)
        self._runners = client.collection(runners)
        self._where = f"Firestore database {client._database} of project {client.project}"  # noqa: SLF001 — it has no public name
        self._reads = Reads(self._where)
        self._polls = Polls(self.get)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, project: str, database: str, now: Callable[[], datetime], retention: timedelta = timedelta(days=30)
    ) -> "AsyncGenerator[FirestoreStore]":
        """Open a database by the credentials of this process; nothing is sent yet. Ended tasks expire `retention` after their end.

        `FIRESTORE_EMULATOR_HOST` leads to an emulator. Raises UnavailableError without credentials.
        """
        client = await asyncio.to_thread(_client, project, database)  # it may ask the metadata server
        try:
            yield cls(client, now, retention)
        finally:
            await client._firestore_api.transport.close()  # noqa: SLF001 — the client has no way to close

    async def insert(self, task: Task) -> bool:
        """Write a new record. False when the id is taken."""
        fields = new_fields(task, self._retention)
        return bool(await self._write(task.id, self._task(task.id).create(fields, retry=None, timeout=WRITE_LIMIT), AlreadyExists))

    async def get(self, task_id: str) -> Stored | None:
        """Read one record. Raises NewerSchemaError."""
        if len(name_of(task_id).encode()) > MAX_NAME_BYTES:
            return None
        found = await self._reads.one(self._task(task_id))
        return Stored(read_task(found), found.update_time) if found.exists else None

    async def replace(self, task: Task, tag: object) -> object:
        """Write the record's next version if it still is as it was read under this tag: its new tag, or None when it is not."""
        fields = next_fields(task, self._retention)
        write = self._task(task.id).update(fields, option=self._unchanged(tag), retry=None, timeout=WRITE_LIMIT)
        written = await self._write(task.id, write, FailedPrecondition, NotFound)
        return written.update_time if written else None

    async def delete(self, task: Task, tag: object) -> bool:
        """Forget the record if it still is as it was read under this tag. False when it is not."""
        write = self._task(task.id).delete(option=self._unchanged(tag), retry=None, timeout=WRITE_LIMIT)
        return bool(await self._write(task.id, write, FailedPrecondition, NotFound))

    async def page(self, query: Query) -> Page:
        """List records, newest first. Raises InvalidArgumentError for a bad token, NewerSchemaError.

        A page may be short, or empty, and still have a next one: see `firestore_page`.
        """
        return await page(self._reads, self._tasks, query)

    async def counts(self, now: datetime) -> Counts:
        """Count records of kind `call`: one read for every thousand counted."""
        calls = self._tasks.where(filter=FieldFilter("kind", "==", Kind.CALL.value))
        by_state = [
            calls.where(filter=FieldFilter("state", "==", state.value)).order_by("createTime", direction="DESCENDING") for state in State
        ]
        late = calls.where(filter=FieldFilter("nextAttemptTime", "<", overdue_before(now))).order_by("nextAttemptTime")
        open_states = FieldFilter("state", "in", sorted(state.value for state in NOT_ENDED))
        oldest = calls.where(filter=open_states).order_by("createTime").limit(1).select(["createTime"])
        (*numbers, overdue), first = await asyncio.gather(
            asyncio.gather(*(self._reads.count(query) for query in (*by_state, late))),
            self._reads.all(oldest),
        )
        return Counts(
            {state: number for state, number in zip(State, numbers, strict=True) if number},
            overdue,
            parse_time(first[0].get("createTime")) if first else None,
        )

    async def owned(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner; of every runner for an empty name."""
        return await self._ids(FieldFilter("owner", "==", owner) if owner else FieldFilter("state", "==", State.RUNNING.value))

    async def cancelled(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner whose cancel was asked for."""
        return await self._ids(FieldFilter("cancelOwner", "==", owner))

    async def beat(self, runner: Runner) -> None:
        """Write a runner's sign of life at the server's time."""
        fields = runner_fields(runner, self._now() + self._retention)
        await self._write("", self._runners.document(name_of(runner.name)).set(fields, retry=None, timeout=WRITE_LIMIT))

    async def runner(self, name: str) -> Runner | None:
        """Read a runner's sign of life."""
        found = await self._reads.one(self._runners.document(name_of(name)))
        return read_runner(found) if found.exists else None

    async def runners(self) -> Sequence[Runner]:
        """List all runners known, by name."""
        return sorted((read_runner(found) for found in await self._reads.all(self._runners)), key=lambda runner: runner.name)

    async def purge(self, before: datetime, limit: int) -> Sequence[Task]:
        """Forget and return tasks that ended before then, longest ended first; forget runners silent since. Raises NewerSchemaError.

        The database's TTL policy does the same by itself.
        """
        ended = self._tasks.where(filter=FieldFilter("expireAt", "<", before + self._retention)).order_by("expireAt").limit(limit)
        tasks = [(read_task(found), found.update_time) for found in await self._reads.all(ended)]
        gone = await asyncio.gather(*(self.delete(*each) for each in tasks))
        silent = [found for found in await self._reads.all(self._runners) if read_runner(found).beat_time < before]
        await asyncio.gather(*(self._forget(found) for found in silent))
        return [task for (task, _), forgotten in zip(tasks, gone, strict=True) if forgotten]

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait up to `patience` seconds for a version above `after` and return what is there then. Raises NewerSchemaError."""
        return await self._polls.changed(task_id, after, patience)

    async def ping(self) -> None:
        """Read one document that is not there. Raises UnavailableError when the database is out of reach."""
        await self._reads.one(self._runners.document(name_of("")))

    async def _ids(self, which: FieldFilter) -> Sequence[str]:
        return sorted(key_of(found.id) for found in await self._reads.all(self._tasks.where(filter=which).select([])))

    # Documents

    def _task(self, task_id: str) -> AsyncDocumentReference:
        return self._tasks.document(name_of(task_id))

    def _unchanged(self, tag: Any) -> Any:  # noqa: ANN401 — the client's own types
        return self._client.write_option(last_update_time=tag.timestamp_pb())

    async def _forget(self, found: Snapshot) -> None:
        delete = found.reference.delete(option=self._unchanged(found.update_time), retry=None, timeout=WRITE_LIMIT)
        await self._write("", delete, FailedPrecondition, NotFound)

    async def _write(self, task_id: str, write: Awaitable[Written], *lost: type[Exception]) -> Written | None:
        """Make a write. None when Firestore refuses it with one of `lost`."""
        try:
            return await write
        except lost:
            return None
        except FAILURES as error:
            raise write_error(error, self._where) from error
        finally:
            self._polls.wake(task_id)


def _client(project: str, database: str) -> AsyncClient:
    try:
        return AsyncClient(project=project, database=database)
    except GoogleAuthError as error:
        raise UnavailableError(f"Firestore database {database} of project {project} needs Google credentials: {error}") from error
