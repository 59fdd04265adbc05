"""The engine of one runner process, with its ports filled in."""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from longcall import __version__
from longcall.assembly.entrance import Entrance
from longcall.assembly.google import cloud_tasks
from longcall.core.callback import Teller
from longcall.core.errors import CallerMistake, OurFault
from longcall.engine import observe
from longcall.engine.admit import Admission
from longcall.engine.calls import NO_LIMIT, Calls, Room
from longcall.engine.cancels import CancelWatch
from longcall.engine.control import Control
from longcall.engine.dispatch import Dispatcher
from longcall.engine.gauges import Gauges
from longcall.engine.lease import LAST_BEAT_LIMIT, Lease
from longcall.engine.owing import Owing
from longcall.engine.ports import Bodies, Caller, Queue, Store
from longcall.engine.requeue import Requeue
from longcall.engine.retention import Retention
from longcall.engine.settle import Settler
from longcall.engine.stats import Stats
from longcall.engine.submit import Submitter
from longcall.outbound.caller import HttpCaller
from longcall.outbound.certificates import Certificates, Issuers
from longcall.outbound.clock import SystemClock
from longcall.outbound.tokens import Tokens
from longcall.settings import Otel, Settings
from longcall.stores import open_store
from longcall.stores.bodies import open_bodies
from longcall.stores.timed import TimedStore
from longcall.telemetry.tally import Exposition, Tally
from longcall.web import app
from longcall.web.dispatch import DispatchDoor
from longcall.web.render import Renderer
from longcall.web.schema import Reader

# Seconds for settling what was closed. App Engine may kill two seconds after SIGTERM; what is not settled by then is settled as
# drained by the runner that gets its look, or by the next start of the data folder.
DRAIN_LIMIT, LAPTOP_DRAIN_LIMIT = 0.3, 5.0
# A busy loop holds the interpreter's lock for so many seconds at most before a store's thread gets it: with Python's default
# of 5 ms a saturated runner starves its own SQLite, and misses its beats.
SWITCH_INTERVAL = 0.0001


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
    stats: Stats
    closing: asyncio.Event
    gauges: Gauges
    tally: Tally

    @classmethod
    def of(cls, store: Store, queue: Queue, bodies: Bodies, caller: Caller, settings: Settings) -> "Engine":
        """Make it, under a name made now."""
        clock = SystemClock()
        store = TimedStore(store, clock.monotonic)
        name = f"r-{clock.new_hex(12)}"
        teller = Teller(settings.public_url, settings.redact_headers, settings.pubsub_endpoint)
        room = Room(settings.max_calls or open_files() // 3, settings.hold_slots or NO_LIMIT, detach=settings.when_full == "detach")
        calls = Calls(caller, clock, f"longcall/{__version__}", room, settings.webhook_secrets)
        lease = Lease(store, queue, clock, name, settings.control_queue, lambda: len(calls))
        return cls(
            store,
            queue,
            bodies,
            clock,
            settings,
            Renderer(settings.public_url, settings.redact_headers),
            lease,
            calls,
            Owing(queue, clock, settings.queue, settings.control_queue),
            Admission(store, clock, settings.queue, settings.control_queue, teller),
            Stats.of(store, clock),
            asyncio.Event(),
            Gauges(store, clock, calls, lease),
            Tally(),
        )

    @property
    def asks(self) -> bool:
        """Whether callers are asked who they are."""
        return self.settings.auth in {"token", "google"}

    @property
    def settler(self) -> Settler:
        """What writes the ends of attempts."""
        return Settler(self.store, self.owing, self.clock, self.bodies)

    @property
    def control(self) -> Control:
        """What can be asked of tasks."""
        return Control(self.store, self.bodies, self.clock, self.owing, self.admission, self.closing)

    def api(self) -> app.Lazy:
        """The HTTP API; made when it is first asked for, or warmed."""
        submitter = Submitter(self.store, self.queue, self.bodies, self.clock, self.settings.queue)
        control = self.control

        def make() -> ASGIApp:
            from longcall.web import api  # noqa: PLC0415 — FastAPI takes half a second

            return api.make(
                api.Parts(
                    submitter,
                    control,
                    Requeue(control),
                    self.clock,
                    self._reader(),
                    self.renderer,
                    self.stats,
                    self.asks,
                    short=self.settings.app_engine,
                    baggage=self.settings.otel.baggage,
                )
            )

        return app.Lazy(make)

    def dashboard(self) -> app.Lazy:
        """The pages for people; made when the first one is asked for."""

        def make() -> ASGIApp:
            from longcall.web.dashboard import site  # noqa: PLC0415 — most processes show nobody anything

            url, project = self.settings.public_url, self.settings.project
            return site.make(site.Parts(self.control, self.stats, self.clock, self.renderer, url, __version__, project, self.asks))

        return app.Lazy(make)

    def entrance(self, issuers: Issuers) -> Entrance:
        """Who may come in."""
        return Entrance(self.settings, self.clock, Certificates(issuers.google, self.clock), Certificates(issuers.iap, self.clock))

    def web(self, api: app.Lazy, entrance: Entrance) -> ASGIApp:
        """The whole ASGI app: the queue's door, the health checks, and the API behind its gate."""
        dispatcher = Dispatcher(self.store, self.clock, self.lease, self.calls, self.settler, self.admission)
        parent = self.settings.queue.rpartition("/queues/")[0]
        door = DispatchDoor(dispatcher, self.clock, self._reader(), entrance.queue_doors(), parent, self.settings.otel.baggage)
        queues = (self.settings.queue, self.settings.control_queue)
        ready = app.Readiness(self.store, self.bodies, self.queue, queues, reasons=not self.asks)
        metrics = app.Metrics(Exposition(self.tally, self.gauges, only_stored=self.settings.app_engine))
        return app.make(door, ready, entrance.gate(metrics.beside(app.Behind(api, self.dashboard()))), entrance.login())

    def _reader(self) -> Reader:
        return Reader(frozenset(self.settings.webhook_secrets), self.settings.targets)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Count what happens, and export it where OTEL_* asks for it. Raises CallerMistake."""
        to, traces = self.settings.otel, None
        async with AsyncExitStack() as stack:
            if to.traces or to.metrics:
                traces = await stack.enter_async_context(_exporting(to, self))
            stack.enter_context(observe.telling(traces, self.tally))
            yield

    @asynccontextmanager
    async def alive(self, stopping: Stopping) -> AsyncIterator[None]:
        """Keep the lease and look for cancels; on leaving, drain, and end the lease."""
        await self.lease.beat()
        watch = CancelWatch(self.store, self.clock, self.calls, self.lease.name)
        loops = [asyncio.create_task(each) for each in (self.lease.keep(), watch.keep(), self.calls.report())]
        observe.runner_started(self.lease.name, __version__, self.calls.room.max_calls)
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
            observe.runner_stopped(self.lease.name, len(self.calls))

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


async def open_engine(stack: AsyncExitStack, settings: Settings, tokens: Tokens) -> Engine:
    """Open what an engine stands on, and make it. Raises CallerMistake, NewerSchemaError, UnavailableError."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    clock = SystemClock()
    store = await stack.enter_async_context(open_store(settings.store, clock.now, migrate=False, retention=settings.retention))
    bodies = open_bodies(settings.bodies)
    queue = await cloud_tasks(stack, settings)
    caller = await stack.enter_async_context(HttpCaller.open(bodies, clock, settings.max_response_bytes, settings.targets, tokens))
    engine = Engine.of(store, queue, bodies, caller, settings)
    await stack.enter_async_context(engine.told())
    return engine


def _exporting(to: Otel, engine: Engine) -> AbstractAsyncContextManager[observe.Traces | None]:
    try:
        from longcall.telemetry.otel import Otlp, exporting  # noqa: PLC0415 — OpenTelemetry costs 0.2 s, and only who asks for it pays
    except ModuleNotFoundError as error:
        raise CallerMistake(f"OTEL_* ask for OpenTelemetry, and {error.name} is not installed: pip install 'longcall[otel]'") from None
    return exporting(Otlp(to.traces, to.metrics, __version__, engine.lease.name), engine.tally, engine.gauges)


def open_files() -> int:
    """Raise this process's limit on open files to the hard limit, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 1_048_576
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
