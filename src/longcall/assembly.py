"""Putting the parts together: the only module that knows them all."""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from longcall import __version__
from longcall.core.callback import Teller
from longcall.core.errors import CallerMistake, OurFault, UnavailableError
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
from longcall.outbound.certificates import Certificates, Issuers
from longcall.outbound.clock import SystemClock
from longcall.outbound.cloud_tasks import CloudTasks, HttpDispatch
from longcall.outbound.google import OWN, google_tokens
from longcall.outbound.issuer import LocalIssuer
from longcall.outbound.minted import NoTokenError
from longcall.outbound.secret_manager import GOOGLE as SECRETS_ENDPOINT
from longcall.outbound.secret_manager import SecretManager
from longcall.outbound.tokens import Tokens
from longcall.settings import CLOUD_TASKS, FACTS, Settings, environment
from longcall.stores import open_store
from longcall.stores.bodies import open_bodies
from longcall.web import app, server
from longcall.web.auth import Gate, GoogleGuard, Guard, NoGuard, TokenGuard, check_host
from longcall.web.dispatch import DispatchDoor
from longcall.web.id_tokens import GOOGLE, IAP, IdTokens
from longcall.web.login import FAILURES, PATH, Login
from longcall.web.queue_door import AppEngineDoor, OidcDoor, QueueDoor, SecretDoor
from longcall.web.rates import Buckets, Rate
from longcall.web.render import Renderer
from longcall.web.schema import Reader

if TYPE_CHECKING:
    from longcall.queue import EmbeddedQueue

HOST = "127.0.0.1"
ISSUERS = Issuers()  # Google's own
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
    issuers: Issuers = ISSUERS


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
        teller = Teller(settings.public_url, settings.redact_headers, settings.pubsub_endpoint)
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
            Admission(store, clock, settings.queue, settings.control_queue, teller),
            asyncio.Event(),
        )

    @property
    def asks(self) -> bool:
        """Whether callers are asked who they are."""
        return self.settings.auth in {"token", "google"}

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

            return api.make(
                api.Parts(
                    submitter,
                    control,
                    Requeue(control),
                    self.clock,
                    self._reader(),
                    self.renderer,
                    self.asks,
                    short=self.settings.app_engine,
                )
            )

        return app.Lazy(make)

    def web(self, api: app.Lazy, issuers: Issuers) -> ASGIApp:
        """The whole ASGI app: the queue's door, the health checks, and the API behind its gate."""
        dispatcher = Dispatcher(self.store, self.clock, self.lease, self.calls, self.settler, self.admission)
        parent = self.settings.queue.rpartition("/queues/")[0]
        entrance = Entrance(self.settings, self.clock, Certificates(issuers.google, self.clock), Certificates(issuers.iap, self.clock))
        door = DispatchDoor(dispatcher, self.clock, self._reader(), entrance.queue_doors(), parent)
        queues = (self.settings.queue, self.settings.control_queue)
        ready = app.Readiness(self.store, self.bodies, self.queue, queues, reasons=not self.asks)
        return app.make(door, ready, entrance.gate(api), entrance.login())

    def _reader(self) -> Reader:
        return Reader(frozenset(self.settings.webhook_secrets), self.settings.targets)

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


@dataclass(frozen=True)
class Entrance:
    """Who may come in, by the settings."""

    settings: Settings
    clock: SystemClock
    google: Certificates
    iap: Certificates

    def gate(self, behind: ASGIApp) -> Gate:
        """What stands before the API."""
        rate = Rate("create", self.settings.create_rate, 2 * self.settings.create_rate)
        login = PATH if self.settings.auth == "token" else ""
        return Gate(behind, self._guard(), Buckets(rate, self.clock.monotonic), self._hosts(), self.settings.app_engine, login)

    def login(self) -> Login | None:
        """Where browsers show a token."""
        guard = self._guard()
        if not isinstance(guard, TokenGuard):
            return None
        return Login(guard, Buckets(FAILURES, self.clock.monotonic), self._hosts(), self.settings.app_engine)

    def queue_doors(self) -> list[QueueDoor]:
        """Every way that is configured for the queue to show that it is the queue."""
        doors: list[QueueDoor] = [AppEngineDoor()] if self.settings.app_engine else []
        if self.settings.queue_secret:
            doors.append(SecretDoor(self.settings.queue_secret))
        if self.settings.dispatch_url:
            tokens = IdTokens(GOOGLE, self.google, [self.settings.dispatch_url])
            doors.append(OidcDoor(tokens, self.settings.dispatch_service_account))
        return doors

    def _guard(self) -> Guard:
        match self.settings.auth:
            case "token":
                return TokenGuard(self.settings.tokens, self.settings.queue_secret, self.clock)
            case "google":
                resources = [each for each in self.settings.audience if each.startswith("/")]  # IAP's: /projects/…
                others = [each for each in self.settings.audience if not each.startswith("/")]
                own, iap = IdTokens(GOOGLE, self.google, others), IdTokens(IAP, self.iap, resources)
                return GoogleGuard(own, iap, self.settings.allowed_callers)
            case _:
                return NoGuard(self._hosts())

    def _hosts(self) -> frozenset[str]:
        return frozenset({urlsplit(self.settings.public_url).netloc.lower()}) - {""}


@asynccontextmanager
async def runner(host: str, port: int, settings: Settings, stopping: Stopping, issuers: Issuers = ISSUERS) -> AsyncIterator[str]:
    """Run one runner with its API and give its URL. Raises CallerMistake, UnavailableError, OSError."""
    check_host(settings.auth, host)
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(server.listen(host, port))
        url = f"http://{host}:{listening.getsockname()[1]}"
        settings = replace(settings, public_url=settings.public_url or url, bodies=settings.bodies or _beside(settings.store))
        engine = await _engine(stack, settings, await _google(stack, settings.impersonate))
        api = engine.api()
        await stack.enter_async_context(server.serve(engine.web(api, issuers), listening))
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
        tokens = await _laptop_tokens(stack, settings, embedded)
        engine = await _engine(stack, replace(settings, queue_endpoint=f"http://{HOST}:{embedded.rest_port}"), tokens)
        api = engine.api()
        await stack.enter_async_context(server.serve(engine.web(api, options.issuers), listening))
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


def embedded_queue(options: QueueOptions, settings: Settings) -> AbstractAsyncContextManager["EmbeddedQueue"]:
    """The embedded queue, with Longcall's own two queues."""
    # A runner on Google Cloud is installed without gRPC and the queue's messages, and starts without them.
    from longcall.queue import EmbeddedQueue  # noqa: PLC0415 — as said
    from longcall.queue.own import own_queues  # noqa: PLC0415 — as said

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
        allow_private_targets=given.allow_private_targets is not False,
        webhook_secrets=given.webhook_secrets or {"default": (webhook_secret(folder, clock.new_hex(64)),)},
    )


async def _laptop_tokens(stack: AsyncExitStack, settings: Settings, embedded: "EmbeddedQueue") -> Tokens:
    """Tokens that the embedded queue's issuer signs, for targets that look up its keys; Google's where somebody is to be impersonated."""
    if settings.impersonate:
        return await _google(stack, settings.impersonate)
    now = SystemClock().now
    return await stack.enter_async_context(Tokens.open(LocalIssuer(embedded.issuer.id_token, now), now, implied=False))


async def _google(stack: AsyncExitStack, impersonate: str = "") -> Tokens:
    """Google's tokens, of the account this process is or may impersonate; it is looked for when the first one is wanted."""
    return await stack.enter_async_context(google_tokens(environment(), SystemClock().now, impersonate=impersonate))


async def read_secrets(references: Collection[str], endpoint: str = SECRETS_ENDPOINT) -> Mapping[str, str]:
    """What settings that say `sm://…` stand for, out of Secret Manager. Raises CallerMistake, UnavailableError."""
    async with AsyncExitStack() as stack:
        project = environment().get(FACTS["project"], "")
        return await SecretManager(await _own_token(stack, "Secret Manager"), project, endpoint).read(references)


async def _own_token(stack: AsyncExitStack, what: str) -> Callable[[], Awaitable[str]]:
    """What gives an access token of this process's own account, for Google's API of that name."""
    own = await _google(stack)

    async def authorize() -> str:
        try:
            return await own.bearer(OWN)
        except NoTokenError as error:
            raise UnavailableError(f"no token for {what}: {error}") from error

    return authorize


async def _cloud_tasks(stack: AsyncExitStack, settings: Settings) -> CloudTasks:
    """The queue's client: for Google's server with a token of this process's own account."""
    dispatch = HttpDispatch(settings.dispatch_url, settings.dispatch_service_account) if settings.dispatch_url else None
    if settings.queue_endpoint != CLOUD_TASKS:
        return await stack.enter_async_context(CloudTasks.open(settings.queue_endpoint, dispatch))
    authorize = await _own_token(stack, "Cloud Tasks")
    return await stack.enter_async_context(CloudTasks.open(settings.queue_endpoint, dispatch, authorize))


async def _engine(stack: AsyncExitStack, settings: Settings, tokens: Tokens) -> Engine:
    sys.setswitchinterval(SWITCH_INTERVAL)
    clock = SystemClock()
    store = await stack.enter_async_context(open_store(settings.store, clock.now, migrate=False, retention=settings.retention))
    bodies = open_bodies(settings.bodies)
    queue = await _cloud_tasks(stack, settings)
    caller = await stack.enter_async_context(HttpCaller.open(bodies, clock, settings.max_response_bytes, settings.targets, tokens))
    return Engine.of(store, queue, bodies, caller, settings)


def _beside(store: str) -> str:
    """Where bodies lie when it is not said: beside the SQLite file. Raises CallerMistake for any other store."""
    if not store.startswith("sqlite:"):
        raise CallerMistake("LONGCALL_BODIES is not set: only beside a SQLite file is it known where large bodies lie")
    return (Path(store.partition("://")[2].removeprefix("/")).resolve().parent / "bodies").as_uri()


def open_files() -> int:
    """Raise this process's limit on open files to the hard limit, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 1_048_576
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
