"""Putting the parts together: the only module that knows them all."""

import asyncio
import fcntl
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from starlette.types import ASGIApp

from longcall import __version__
from longcall.core.errors import CallerMistake
from longcall.engine import observe
from longcall.engine.admit import Admission
from longcall.engine.calls import Calls
from longcall.engine.control import Control, take_over
from longcall.engine.dispatch import Dispatcher
from longcall.engine.lease import Lease
from longcall.engine.ports import Bodies, Caller, Queue, Store
from longcall.engine.settle import Settler
from longcall.engine.submit import Submitter
from longcall.outbound.caller import HttpCaller
from longcall.outbound.clock import SystemClock
from longcall.outbound.cloud_tasks import CloudTasks
from longcall.queue import EmbeddedQueue, QueueConfig, RateLimits, RetryConfig
from longcall.settings import Settings
from longcall.stores import open_store
from longcall.stores.bodies import open_bodies
from longcall.web import app, server
from longcall.web.dispatch import DispatchDoor
from longcall.web.render import Renderer

HOST = "127.0.0.1"
LOCATION = "projects/longcall/locations/local"
CALL_QUEUE = f"{LOCATION}/queues/default"
CONTROL_QUEUE = f"{LOCATION}/queues/control"
DRAIN_LIMIT = 5.0  # seconds; a laptop can wait for its disk
# What setup gives both queues on Google Cloud: the queue's retries only bring a task back to a runner.
QUEUE_RETRIES = RetryConfig(
    max_attempts=-1, min_backoff=timedelta(seconds=1), max_backoff=timedelta(seconds=30), max_doublings=5, max_retry_duration=timedelta()
)
# A laptop's own queue need not hold back: there is no quota to keep, and every held call is an open dispatch.
QUEUE_RATES = RateLimits(max_dispatches_per_second=10_000.0, max_concurrent_dispatches=100_000)


@dataclass(frozen=True, slots=True)
class LaptopOptions:
    """Where `longcall up` listens and keeps its data. Port 0 takes a free one."""

    port: int = 8080
    grpc_port: int = 8123
    rest_port: int = 8124
    data: Path = Path("longcall-data")
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Laptop:
    """Everything, running in this process."""

    api_url: str
    grpc_port: int
    rest_port: int
    queue: str = CALL_QUEUE
    taken_over: int = 0


@dataclass(frozen=True)
class Engine:
    """The engine with its ports filled in."""

    store: Store
    queue: Queue
    bodies: Bodies
    lease: Lease
    calls: Calls
    settler: Settler
    clock: SystemClock

    @classmethod
    def of(cls, store: Store, queue: Queue, bodies: Bodies, caller: Caller, max_calls: int) -> "Engine":
        """Make the engine of one runner process, under a name made now."""
        clock = SystemClock()
        name = f"r-{clock.new_hex(12)}"
        return cls(
            store,
            queue,
            bodies,
            Lease(store, queue, clock, name, CONTROL_QUEUE),
            Calls(caller, clock, f"longcall/{__version__}", max_calls),
            Settler(store, queue, clock, CALL_QUEUE),
            clock,
        )

    def dispatcher(self) -> Dispatcher:
        """What a dispatch needs."""
        return Dispatcher(self.store, self.clock, self.lease, self.calls, self.settler, Admission(self.store, self.clock, CALL_QUEUE))

    def api(self, renderer: Renderer) -> app.Lazy:
        """The HTTP API; made when it is first asked for, or warmed."""
        submitter = Submitter(self.store, self.queue, self.bodies, self.clock, CALL_QUEUE)
        control = Control(self.store, self.bodies, self.clock)

        def make() -> ASGIApp:
            from longcall.web import api  # noqa: PLC0415 — FastAPI takes half a second

            return api.make(submitter, control, self.clock, renderer)

        return app.Lazy(make)

    def web(self, secret: str, api: app.Lazy) -> ASGIApp:
        """The whole ASGI app: the queue's door, the health checks, and the API behind them."""
        door = DispatchDoor(self.dispatcher(), self.clock, secret, LOCATION)
        return app.make(door, app.Readiness(self.store, self.queue, (CALL_QUEUE, CONTROL_QUEUE)), api)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Keep the lease; on leaving, drain: close every call, settle it, and end the lease."""
        await self.lease.beat()
        beating = asyncio.create_task(self.lease.keep())
        try:
            yield
        finally:
            observe.runner_draining(self.lease.name, len(self.calls))
            self.lease.drained = True
            await self.lease.beat()
            with suppress(TimeoutError):  # what is left is found by the look, or by the next start of this data folder
                async with asyncio.timeout(DRAIN_LIMIT):
                    await self.calls.drain()
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self.lease.beat(gone=True)


@asynccontextmanager
async def laptop(options: LaptopOptions) -> AsyncIterator[Laptop]:
    """Run everything on loopback in this process. Raises CallerMistake for a data folder in use, OSError for a port in use."""
    clock = SystemClock()
    secret = clock.new_hex(64)
    async with AsyncExitStack() as stack:
        stack.enter_context(_held(options.data))
        listening = stack.enter_context(server.listen(HOST, options.port))
        api_url = f"http://{HOST}:{listening.getsockname()[1]}"
        embedded = await stack.enter_async_context(_queue(options, api_url, secret, clock))
        engine = await _engine(stack, options, embedded.rest_port)
        api = engine.api(Renderer(api_url, options.settings.redact_headers))
        await stack.enter_async_context(server.serve(engine.web(secret, api), listening))
        await stack.enter_async_context(engine.alive())
        taken_over = await take_over(engine.store, engine.settler)
        await asyncio.to_thread(api.warm)
        embedded.start_dispatching()
        yield Laptop(api_url, embedded.grpc_port, embedded.rest_port, taken_over=taken_over)


def _queue(options: LaptopOptions, api_url: str, secret: str, clock: SystemClock) -> AbstractAsyncContextManager[EmbeddedQueue]:
    return EmbeddedQueue.open(
        path=options.data / "queue.db",
        grpc_port=options.grpc_port,
        rest_port=options.rest_port,
        queues=[QueueConfig(name, retry=QUEUE_RETRIES, rates=QUEUE_RATES) for name in (CALL_QUEUE, CONTROL_QUEUE)],
        app_engine=api_url,
        secret=secret,
        now=clock.now,
        new_id=clock.new_id,
        chance=clock.chance,
    )


async def _engine(stack: AsyncExitStack, options: LaptopOptions, rest_port: int) -> Engine:
    clock, settings = SystemClock(), options.settings
    folder = options.data.resolve()
    store = await stack.enter_async_context(open_store(f"sqlite:///{folder / 'longcall.db'}", clock.now))
    bodies = open_bodies((folder / "bodies").as_uri())
    queue = await stack.enter_async_context(CloudTasks.open(f"http://{HOST}:{rest_port}"))
    caller = await stack.enter_async_context(HttpCaller.open(bodies, clock, settings.max_response_bytes))
    return Engine.of(store, queue, bodies, caller, settings.max_calls or open_files() // 3)


def open_files() -> int:
    """Raise this process's limit on open files to the hard limit, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 1_048_576
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Have a data folder to ourselves, so that every RUNNING task in it is known to be nobody's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise CallerMistake(f"{folder} is in use by another longcall up: stop that one, or give --data another folder") from None
    try:
        yield
    finally:
        os.close(handle)
