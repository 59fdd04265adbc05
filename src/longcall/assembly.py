"""Putting the parts together: the only module that knows them all."""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.types import ASGIApp

from longcall import __version__
from longcall.core.callback import Teller
from longcall.core.errors import OurFault
from longcall.engine import observe
from longcall.engine.admit import Admission
from longcall.engine.calls import NO_LIMIT, Calls, Room
from longcall.engine.cancels import CancelWatch
from longcall.engine.control import Control
from longcall.engine.dispatch import Dispatcher
from longcall.engine.lease import LAST_BEAT_LIMIT, Lease
from longcall.engine.owing import Owing
from longcall.engine.ports import Bodies, Caller, Queue, Store
from longcall.engine.requeue import Requeue, take_over
from longcall.engine.retention import Retention
from longcall.engine.settle import Settler
from longcall.engine.submit import Submitter
from longcall.folder import hold, webhook_secret
from longcall.outbound.caller import HttpCaller
from longcall.outbound.clock import SystemClock
from longcall.outbound.cloud_tasks import CloudTasks
from longcall.queue import EmbeddedQueue
from longcall.queue.own import own_queues
from longcall.settings import Settings
from longcall.stores import open_store
from longcall.stores.bodies import open_bodies
from longcall.web import app, server
from longcall.web.dispatch import DispatchDoor
from longcall.web.render import Renderer
from longcall.web.schema import Reader

HOST = "127.0.0.1"
# Seconds for settling what was closed. App Engine may kill two seconds after SIGTERM; what is not settled by then is settled as
# drained by the runner that gets its look, or by the next start of the data folder.
DRAIN_LIMIT, LAPTOP_DRAIN_LIMIT = 0.3, 5.0
# A busy loop holds the interpreter's lock for so many seconds at most before a store's thread gets it: with Python's default
# of 5 ms a saturated runner starves its own SQLite, and misses its beats.
SWITCH_INTERVAL = 0.0001


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
    queue: str
    webhook_secrets: Mapping[str, Sequence[str]] = field(repr=False)
    taken_over: int = 0


@dataclass
class Stopping:
    """How a runner is to stop: it waits up to `patience` seconds for its calls, unless `hurry` is set meanwhile, and then drains."""

    patience: float = 0.0
    drain_limit: float = DRAIN_LIMIT
    hurry: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Engine:
    """The engine of one runner process, with its ports filled in."""

    store: Store
    queue: Queue
    bodies: Bodies
    clock: SystemClock
    settings: Settings
    renderer: Renderer
    lease: Lease
    calls: Calls
    owing: Owing
    admission: Admission
    closing: asyncio.Event

    @classmethod
    def of(cls, store: Store, queue: Queue, bodies: Bodies, caller: Caller, settings: Settings) -> "Engine":
        """Make it, under a name made now."""
        clock = SystemClock()
        name = f"r-{clock.new_hex(12)}"
        room = Room(settings.max_calls or open_files() // 3, settings.hold_slots or NO_LIMIT, detach=settings.when_full == "detach")
        calls = Calls(caller, clock, f"longcall/{__version__}", room, settings.webhook_secrets)
        return cls(
            store,
            queue,
            bodies,
            clock,
            settings,
            Renderer(settings.public_url, settings.redact_headers),
            Lease(store, queue, clock, name, settings.control_queue, lambda: len(calls)),
            calls,
            Owing(queue, clock, settings.queue, settings.control_queue),
            Admission(store, clock, settings.queue, settings.control_queue, Teller(settings.public_url, settings.redact_headers)),
            asyncio.Event(),
        )

    @property
    def settler(self) -> Settler:
        """What writes the ends of attempts."""
        return Settler(self.store, self.owing, self.clock, self.bodies)

    def api(self) -> app.Lazy:
        """The HTTP API; made when it is first asked for, or warmed."""
        submitter = Submitter(self.store, self.queue, self.bodies, self.clock, self.settings.queue)
        control = Control(self.store, self.bodies, self.clock, self.owing, self.admission, self.closing)

        def make() -> ASGIApp:
            from longcall.web import api  # noqa: PLC0415 — FastAPI takes half a second

            return api.make(api.Parts(submitter, control, Requeue(control), self.clock, self._reader(), self.renderer))

        return app.Lazy(make)

    def web(self, api: app.Lazy) -> ASGIApp:
        """The whole ASGI app: the queue's door, the health checks, and the API behind them."""
        dispatcher = Dispatcher(self.store, self.clock, self.lease, self.calls, self.settler, self.admission)
        parent = self.settings.queue.rpartition("/queues/")[0]
        door = DispatchDoor(dispatcher, self.clock, self._reader(), self.settings.queue_secret, parent)
        return app.make(door, app.Readiness(self.store, self.queue, (self.settings.queue, self.settings.control_queue)), api)

    def _reader(self) -> Reader:
        return Reader(frozenset(self.settings.webhook_secrets))

    @asynccontextmanager
    async def alive(self, stopping: Stopping) -> AsyncIterator[None]:
        """Keep the lease and look for cancels; on leaving, drain, and end the lease."""
        await self.lease.beat()
        watch = CancelWatch(self.store, self.clock, self.calls, self.lease.name)
        loops = [asyncio.create_task(each) for each in (self.lease.keep(), watch.keep())]
        if not self.settings.store.startswith("firestore:"):  # Firestore forgets by itself
            loops.append(asyncio.create_task(Retention(self.store, self.bodies, self.clock, self.settings.retention).keep()))
        try:
            yield
        finally:
            await self._wait(stopping)
            self.closing.set()
            await self._drain(stopping.drain_limit)
            for each in loops:
                each.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            with suppress(OurFault):
                await self.lease.end(left=len(self.calls) > 0)

    async def _wait(self, stopping: Stopping) -> None:
        self.calls.close()
        waits = [asyncio.create_task(each) for each in (self.calls.idle(), stopping.hurry.wait())]
        await asyncio.wait(waits, timeout=stopping.patience, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def _drain(self, limit: float) -> None:
        observe.runner_draining(self.lease.name, len(self.calls))
        self.lease.drained = True  # first of all: from now on whoever settles its calls settles them as drained
        await self.lease.beat(limit=LAST_BEAT_LIMIT)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.calls.drain()
        await self.calls.abandon()


@asynccontextmanager
async def runner(host: str, port: int, settings: Settings, stopping: Stopping) -> AsyncIterator[str]:
    """Run one runner with its API and give its URL. Raises CallerMistake, UnavailableError, OSError."""
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(server.listen(host, port))
        url = f"http://{host}:{listening.getsockname()[1]}"
        settings = replace(settings, public_url=settings.public_url or url, bodies=settings.bodies or _beside(settings.store))
        engine = await _engine(stack, settings)
        api = engine.api()
        await stack.enter_async_context(server.serve(engine.web(api), listening))
        await stack.enter_async_context(engine.alive(stopping))
        await asyncio.to_thread(api.warm)
        yield url


@asynccontextmanager
async def laptop(options: LaptopOptions, stopping: Stopping | None = None) -> AsyncIterator[Laptop]:
    """Run everything on loopback in this process. Raises CallerMistake for a data folder in use, OSError for a port in use."""
    async with AsyncExitStack() as stack:
        stack.enter_context(hold(options.data))
        listening = stack.enter_context(server.listen(HOST, options.port))
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        settings = _laptop_settings(options, url, SystemClock())
        queue = QueueOptions(options.data / "queue.db", options.grpc_port, options.rest_port, url)
        embedded = await stack.enter_async_context(embedded_queue(queue, settings))
        engine = await _engine(stack, replace(settings, queue_endpoint=f"http://{HOST}:{embedded.rest_port}"))
        api = engine.api()
        await stack.enter_async_context(server.serve(engine.web(api), listening))
        await stack.enter_async_context(engine.alive(stopping or Stopping(drain_limit=LAPTOP_DRAIN_LIMIT)))
        taken_over = await take_over(engine.store, engine.settler)
        await asyncio.to_thread(api.warm)
        embedded.start_dispatching()
        yield Laptop(url, embedded.grpc_port, embedded.rest_port, settings.queue, settings.webhook_secrets, taken_over)


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """Where the embedded queue listens, keeps its data (None: nothing is kept), and sends App Engine tasks."""

    path: Path | None
    grpc_port: int
    rest_port: int
    app_engine: str | None


def embedded_queue(options: QueueOptions, settings: Settings) -> AbstractAsyncContextManager[EmbeddedQueue]:
    """The embedded queue, with Longcall's own two queues."""
    clock = SystemClock()
    return EmbeddedQueue.open(
        path=options.path,
        grpc_port=options.grpc_port,
        rest_port=options.rest_port,
        queues=own_queues(settings.queue, settings.control_queue),
        app_engine=options.app_engine,
        secret=settings.queue_secret or None,
        now=clock.now,
        new_id=clock.new_ordered_id,
        chance=clock.chance,
    )


def _laptop_settings(options: LaptopOptions, url: str, clock: SystemClock) -> Settings:
    folder, given = options.data.resolve(), options.settings
    return replace(
        given,
        store=f"sqlite:///{folder / 'longcall.db'}",
        bodies=(folder / "bodies").as_uri(),
        queue_secret=clock.new_hex(64),
        public_url=given.public_url or url,
        webhook_secrets=given.webhook_secrets or {"default": (webhook_secret(folder, clock.new_hex(64)),)},
    )


async def _engine(stack: AsyncExitStack, settings: Settings) -> Engine:
    sys.setswitchinterval(SWITCH_INTERVAL)
    clock = SystemClock()
    store = await stack.enter_async_context(open_store(settings.store, clock.now))
    bodies = open_bodies(settings.bodies)
    queue = await stack.enter_async_context(CloudTasks.open(settings.queue_endpoint))
    caller = await stack.enter_async_context(HttpCaller.open(bodies, clock, settings.max_response_bytes))
    return Engine.of(store, queue, bodies, caller, settings)


def _beside(store: str) -> str:
    """Where bodies lie when it is not said: beside the SQLite file."""
    return (Path(store.partition("://")[2].removeprefix("/")).resolve().parent / "bodies").as_uri()


def open_files() -> int:
    """Raise this process's limit on open files to the hard limit, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 1_048_576
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
