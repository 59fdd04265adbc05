"""A Cloud Tasks server in a thread of a test's process, whose time can be moved on."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

from longcall.outbound.clock import SystemClock
from longcall.queue import EmbeddedQueue, QueueOptions, listener
from longcall.queue.lifecycle import Answer
from longcall.queue.model import QueuedTask

if TYPE_CHECKING:
    from google.cloud import tasks_v2

PARENT = "projects/test/locations/local"
_LOOK = 0.002
"""Seconds between two looks at whether a queue is empty, and between a queue's own at a clock that was moved."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One dispatch that has ended: of which task, what was sent where, and the target's status, None if it gave no answer."""

    task: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None


@dataclass
class _Clock:
    ahead: timedelta = timedelta(0)
    clock: SystemClock = field(default_factory=SystemClock)

    def now(self) -> datetime:
        return self.clock.now() + self.ahead

    def move_to(self, time: datetime) -> None:
        self.ahead += max(time - self.now(), timedelta(0))


class LongcallQueue:
    """A running server.

    `queue` is the full name of a queue that is there, `parent` its location; `grpc` and `rest` are where clients connect.
    `target` is the URL of a web server that answers each request with the next of `answers`, with 200 when there is none.
    `deliveries` has every dispatch that has ended, wherever it went, in the order of their ends.
    """

    parent: str = PARENT
    queue: str = f"{PARENT}/queues/default"
    grpc: str
    rest: str

    def __init__(self, target: str, answers: deque[int]) -> None:
        self.target = target
        self.answers = answers
        self.deliveries: list[Delivery] = []
        self._clock = _Clock()
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def open(self, key: str, app_engine: str) -> AsyncIterator[None]:
        """Serve until the end, on the loop on which this is called."""
        async with EmbeddedQueue.open(
            path=None,
            grpc_port=0,
            rest_port=0,
            queues=[self.queue],
            app_engine=app_engine,
            secret=None,
            now=self._clock.now,
            new_id=self._clock.clock.new_ordered_id,
            chance=self._clock.clock.chance,
            observe=self._note,
            options=QueueOptions(clock_check=_LOOK, signing_key=key),
        ) as self._embedded:
            self.grpc, self.rest = f"127.0.0.1:{self._embedded.grpc_port}", f"http://127.0.0.1:{self._embedded.rest_port}"
            self._embedded.start_dispatching()
            yield

    @cached_property
    def client(self) -> "tasks_v2.CloudTasksClient":
        """Google's client, over gRPC; it needs no credentials."""
        import grpc  # noqa: PLC0415 — only where it is used
        from google.cloud import tasks_v2  # noqa: PLC0415 — as above
        from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport  # noqa: PLC0415 — as above

        self._channel = grpc.insecure_channel(self.grpc)
        return tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=self._channel))

    def drain(self, limit: float = 10.0) -> None:
        """Dispatch everything, retries too, until no queue has anything left; time moves on to whatever is scheduled.

        Paused queues are left alone. Raises TimeoutError after `limit` seconds, which pass as always. A test whose app runs in
        the test's own event loop must await `drained` instead.
        """
        self._start(self._drain(limit)).result()

    async def drained(self, limit: float = 10.0) -> None:
        """Do the same as `drain`, for tests with an event loop."""
        await asyncio.wrap_future(self._start(self._drain(limit)))

    def close(self) -> None:
        """Close the client, if there is one."""
        if "client" in self.__dict__:
            self._channel.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _drain(self, limit: float) -> None:
        end = self._loop.time() + limit
        while (due := self._embedded.next_due()) is not None or self._embedded.dispatching:
            if self._loop.time() > end:
                raise TimeoutError(f"the queue still has something to do after {limit} s; it has delivered {len(self.deliveries)} times")
            if due is not None and not self._embedded.dispatching:
                self._clock.move_to(due)
            await asyncio.sleep(_LOOK)

    def _note(self, task: QueuedTask, url: str, headers: Mapping[str, str], answer: Answer) -> None:
        target = task.target
        self.deliveries.append(Delivery(task.name, target.method.value, url, headers, target.body, answer.status))


@contextmanager
def serving(key: str, app_engine: str | None) -> Iterator[LongcallQueue]:
    """Serve in a thread. `key` signs tokens (PEM); App Engine tasks go to `app_engine`, a base URL, or to the server's own target."""
    ready: Future[tuple[LongcallQueue, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(key, app_engine, ready)), name="longcall-queue", daemon=True)
    thread.start()
    queue, stop = ready.result()
    try:
        yield queue
    finally:
        queue.close()
        queue._loop.call_soon_threadsafe(stop.set)  # noqa: SLF001 — the two are one
        thread.join()


async def _serve(key: str, app_engine: str | None, ready: "Future[tuple[LongcallQueue, asyncio.Event]]") -> None:
    stop = asyncio.Event()
    try:
        async with _target() as (url, answers):
            queue = LongcallQueue(url, answers)
            async with queue.open(key, app_engine or url):
                ready.set_result((queue, stop))
                await stop.wait()
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)


@asynccontextmanager
async def _target() -> AsyncIterator[tuple[str, deque[int]]]:
    answers: deque[int] = deque()

    async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        status = answers.popleft() if answers else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    with listener.listen(0) as listening:
        async with listener.serve(answer, listening):
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", answers
