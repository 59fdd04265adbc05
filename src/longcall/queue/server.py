"""The embedded queue as a whole: storage, dispatcher and both faces, opened and closed together."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from longcall.queue import grpc_api, listener, rest_api, roster, schema, storage
from longcall.queue.dispatcher import Dispatcher, Pace
from longcall.queue.errors import RefusedError
from longcall.queue.grouping import GroupedWrites
from longcall.queue.model import Queue, QueueConfig
from longcall.queue.names import check_queue
from longcall.queue.oidc import Issuer
from longcall.queue.roster import Roster
from longcall.queue.sender import Address, Observe, Sender, unobserved
from longcall.queue.service import QueueService
from longcall.queue.storage import TaskStorage

_FORGET_EVERY = 30.0


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """What hardly anyone changes.

    ``task_names_kept``: how long the name of a finished or deleted task can't be used again (Google says up to 24 h or
    1 h). ``queue_names_kept``: the same for a deleted queue's. ``clock_check``: the longest a waiting queue sleeps
    without looking at the clock, in seconds. ``issuer``: what tokens say in ``iss``, if not the REST face's address.
    ``signing_key``: the private RSA key in PEM that signs them, if not the queue's own.
    """

    task_names_kept: timedelta = timedelta(hours=1)
    queue_names_kept: timedelta = timedelta(days=3)
    clock_check: float = 1.0
    issuer: str = ""
    signing_key: str = field(default="", repr=False)


class EmbeddedQueue:
    """A Cloud Tasks server in this process, on 127.0.0.1, over gRPC and REST."""

    def __init__(self, dispatcher: Dispatcher, issuer: Issuer, grpc_port: int, rest_port: int) -> None:
        self._dispatcher = dispatcher
        self.issuer = issuer
        self.grpc_port = grpc_port
        self.rest_port = rest_port

    @classmethod
    @asynccontextmanager
    async def open(  # noqa: PLR0913 — a queue needs all of it, and each is given by name
        cls,
        *,
        path: Path | None,
        grpc_port: int,
        rest_port: int,
        queues: Sequence[str | QueueConfig],
        app_engine: str | None,
        secret: str | None,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        chance: Callable[[], float],
        observe: Observe = unobserved,
        options: QueueOptions = QueueOptions(),
    ) -> AsyncIterator["EmbeddedQueue"]:
        """Listen (port 0: a free one), and make the named queues if they are missing.

        ``path`` is the SQLite file; None keeps everything in memory. ``queues`` are full names or configurations; a
        queue that exists stays as it is. App Engine targets are at ``app_engine``, a base URL, and ``secret`` goes
        there and nowhere else. ``observe`` is told of each dispatch that has ended. Closing drops what is open; it is
        dispatched again after the next start.
        Raises RefusedError for a bad queue name, StorageError when the file can't be used, PortError when a port is
        taken.
        """
        async with AsyncExitStack() as stack:
            listening = stack.enter_context(listener.listen(rest_port))
            rest_port = listening.getsockname()[1]
            url = f"http://127.0.0.1:{rest_port}"
            connection = stack.enter_context(closing(schema.connect(path)))
            issuer = Issuer(options.issuer or url, options.signing_key or schema.signing_key(connection))
            stored = _stored(connection, queues, now())
            writes = GroupedWrites(connection, on_disk=path is not None)
            stack.push_async_callback(writes.close)
            tasks = TaskStorage(writes, options.task_names_kept)
            sender = await stack.enter_async_context(Sender.open(Address(app_engine, secret), issuer, now, observe))
            pace = Pace(now, chance, options.clock_check)
            dispatcher = await stack.enter_async_context(Dispatcher.open(tasks, sender, pace))
            service = QueueService(Roster(writes, options.queue_names_kept), tasks, dispatcher, now, new_id)
            stack.push_async_callback(service.close)
            for queue, waiting in stored:
                service.add(queue, waiting)
            await stack.enter_async_context(_forgetting(tasks, now))
            await stack.enter_async_context(listener.serve(rest_api.application(service, issuer, url), listening))
            grpc_port = await stack.enter_async_context(grpc_api.serve(service, grpc_port))
            stack.callback(dispatcher.stop)  # first of all: thousands of connections close while the faces stop
            yield cls(dispatcher, issuer, grpc_port, rest_port)

    @property
    def dispatching(self) -> int:
        """How many dispatches are open, or about to be."""
        return self._dispatcher.dispatching

    def next_due(self) -> datetime | None:
        """Return when the first waiting task is due of those in queues that are not paused."""
        return self._dispatcher.next_due()

    def start_dispatching(self) -> None:
        """Begin to dispatch; first of all what was open when the queue last stopped."""
        self._dispatcher.start()


def _stored(
    connection: sqlite3.Connection, wanted: Sequence[str | QueueConfig], at: datetime
) -> list[tuple[Queue, list[tuple[datetime, int]]]]:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        present = {queue.config.name for queue in roster.load(connection)}
        for config in map(_config, wanted):
            if config.name not in present:
                roster.insert(connection, config)
        queues = roster.load(connection)
        for queue in queues:
            storage.finish_purge(connection, queue, at)
            storage.take_back(connection, queue, at)
    return [(queue, storage.waiting(connection, queue)) for queue in queues]


def _config(wanted: str | QueueConfig) -> QueueConfig:
    config = QueueConfig(wanted) if isinstance(wanted, str) else wanted
    check_queue(config.name)
    return config


@asynccontextmanager
async def _forgetting(tasks: TaskStorage, now: Callable[[], datetime]) -> AsyncIterator[None]:
    async def forget() -> None:
        while True:
            await asyncio.sleep(_FORGET_EVERY)
            with suppress(RefusedError):  # a full disk is for those to tell who need it
                while await tasks.forget_names(now()):
                    pass

    forgetting = asyncio.create_task(forget())
    try:
        yield
    finally:
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
