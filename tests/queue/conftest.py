"""A target to dispatch to, a clock to turn, and queues and official clients on free ports."""

import asyncio
import inspect
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport, CloudTasksGrpcTransport

from longcall.queue import EmbeddedQueue, QueueOptions
from longcall.queue.oidc import new_key

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
SECRET = "known to both"  # noqa: S105 — nobody's
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)

OpenQueue = Callable[..., AbstractAsyncContextManager[EmbeddedQueue]]
Connect = Callable[[EmbeddedQueue], AbstractAsyncContextManager[tasks_v2.CloudTasksAsyncClient]]


class Clock:
    """A wall clock that moves only when told to."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        """Return the present time."""
        return self.time

    def advance(self, **span: float) -> None:
        """Move on by a timedelta's arguments."""
        self.time += timedelta(**span)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the target got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Target:
    """A server that notes what it gets and answers what it is told, 200 by default, once it is not held."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list[Seen])
    answers: deque[int] = field(default_factory=deque[int])
    answer_headers: dict[str, str] = field(default_factory=dict[str, str])
    free: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0
    most_open: int = 0
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def arrived(self, count: int) -> Seen:
        """Wait until so many requests have come, and return the last of them."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen) >= count)
        return self.seen[count - 1]

    async def left(self) -> None:
        """Wait until no request is open."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: self.open == 0)

    async def handle(self, request: web.Request) -> web.Response:
        """Serve one request."""
        seen = Seen(request.method, request.path_qs, request.headers.copy(), await request.read())
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        async with self._arrived:
            self.seen.append(seen)
            self._arrived.notify_all()
        try:
            await self.free.wait()
        finally:
            self.open -= 1
            async with self._arrived:
                self._arrived.notify_all()
        return web.Response(status=self.answers.popleft() if self.answers else 200, headers=self.answer_headers)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """Give a target that answers at once."""
    target = Target()
    target.free.set()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", target.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield target
    target.free.set()
    await runner.cleanup()


@pytest.fixture
def clock() -> Clock:
    """Give a clock at START."""
    return Clock()


@pytest.fixture(scope="session")
def signing_key() -> str:
    """Give one key for all, since making one takes longer than most tests."""
    return new_key()


@pytest.fixture
def open_queue(tmp_path: Path, target: Target, clock: Clock, signing_key: str) -> OpenQueue:
    """Give ``EmbeddedQueue.open`` with everything filled in; the same file each time."""
    ids = itertools.count(1)

    def opened(**different: Any) -> AbstractAsyncContextManager[EmbeddedQueue]:  # noqa: ANN401 — what open takes
        usual: dict[str, Any] = {
            "path": tmp_path / "queue.db",
            "grpc_port": 0,
            "rest_port": 0,
            "queues": [QUEUE],
            "app_engine": target.url,
            "secret": SECRET,
            "now": clock,
            "new_id": lambda: f"made-{next(ids)}",
            "chance": lambda: 0.5,
            "options": QueueOptions(clock_check=0.01, signing_key=signing_key),  # a turned clock is seen soon
        }
        return EmbeddedQueue.open(**usual | different)

    return opened


@pytest.fixture
async def queue(open_queue: OpenQueue) -> AsyncIterator[EmbeddedQueue]:
    """Give an open queue that dispatches, in memory: a disk is waited for in the tests of restarts."""
    async with open_queue(path=None) as queue:
        queue.start_dispatching()
        yield queue


@asynccontextmanager
async def client_of(queue: EmbeddedQueue) -> AsyncIterator[tasks_v2.CloudTasksAsyncClient]:
    """Give the official asyncio client, over gRPC."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{queue.grpc_port}") as channel:
        yield tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))


@pytest.fixture
def connect() -> Connect:
    """Give ``client_of``."""
    return client_of


@pytest.fixture
async def client(queue: EmbeddedQueue) -> AsyncIterator[tasks_v2.CloudTasksAsyncClient]:
    """Give the official asyncio client of the open queue."""
    async with client_of(queue) as client:
        yield client


class AnyClient:
    """Google's client in one of its three kinds, each awaited in the same way; one without asyncio runs in a thread."""

    def __init__(self, client: tasks_v2.CloudTasksClient | tasks_v2.CloudTasksAsyncClient) -> None:
        self._client = client

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        """Give a method of the client."""
        call = getattr(self._client, method)
        return call if inspect.iscoroutinefunction(call) else partial(asyncio.to_thread, call)

    async def pages(self, method: str, request: object) -> list[Any]:
        """Read a list page by page."""
        pager = await getattr(self, method)(request=request)
        if isinstance(self._client, tasks_v2.CloudTasksAsyncClient):
            return [page async for page in pager.pages]
        return await asyncio.to_thread(lambda: list(pager.pages))

    async def tasks(self, queue: str, **more: object) -> list[tasks_v2.Task]:
        """Read all tasks of a queue."""
        pages = await self.pages("list_tasks", tasks_v2.ListTasksRequest(parent=queue, **more))
        return [task for page in pages for task in page.tasks]


@asynccontextmanager
async def _grpc(queue: EmbeddedQueue) -> AsyncIterator[AnyClient]:
    with grpc.insecure_channel(f"127.0.0.1:{queue.grpc_port}") as channel:
        yield AnyClient(tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel)))


@asynccontextmanager
async def _grpc_asyncio(queue: EmbeddedQueue) -> AsyncIterator[AnyClient]:
    async with client_of(queue) as client:
        yield AnyClient(client)


@asynccontextmanager
async def _rest(queue: EmbeddedQueue) -> AsyncIterator[AnyClient]:
    options = {"api_endpoint": f"http://127.0.0.1:{queue.rest_port}"}
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
    with tasks_v2.CloudTasksClient(transport="rest", credentials=nobody, client_options=options) as client:
        yield AnyClient(client)


@pytest.fixture(params=[_grpc, _grpc_asyncio, _rest], ids=["grpc", "grpc_asyncio", "rest"])
async def any_client(queue: EmbeddedQueue, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    """Give Google's client of the open queue, one kind after the other."""
    async with request.param(queue) as client:
        yield client
