"""Putting the parts together: the only room that knows them all."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longcall.assembly.engine import DRAIN_LIMIT, LAPTOP_DRAIN_LIMIT, Engine, Stopping, open_engine
from longcall.assembly.entrance import Entrance
from longcall.assembly.google import google, read_secrets
from longcall.assembly.rotation import Reload, Rotation
from longcall.core.checkup import Level
from longcall.core.errors import CallerMistake
from longcall.engine import observe
from longcall.engine.requeue import take_over
from longcall.folder import hold, webhook_secret
from longcall.outbound.certificates import Issuers
from longcall.outbound.clock import SystemClock
from longcall.outbound.issuer import LocalIssuer
from longcall.outbound.tokens import Tokens
from longcall.settings import Settings
from longcall.web import server
from longcall.web.auth import check_host

if TYPE_CHECKING:
    from longcall.queue import EmbeddedQueue

__all__ = [
    "DRAIN_LIMIT",
    "HOST",
    "LAPTOP_DRAIN_LIMIT",
    "Engine",
    "Entrance",
    "Laptop",
    "LaptopOptions",
    "Stopping",
    "laptop",
    "read_secrets",
    "runner",
]

HOST = "127.0.0.1"
ISSUERS = Issuers()  # Google's own


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


@asynccontextmanager
async def runner(
    host: str, port: int, settings: Settings, stopping: Stopping, issuers: Issuers = ISSUERS, reload: Reload | None = None
) -> AsyncIterator[str]:
    """Run one runner with its API and give its URL. `reload` reads the settings again, where secrets may be changed meanwhile.

    Raises CallerMistake, UnavailableError, OSError.
    """
    check_host(settings.auth, host)
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(server.listen(host, port))
        url = f"http://{host}:{listening.getsockname()[1]}"
        settings = replace(settings, public_url=settings.public_url or url, bodies=settings.bodies or beside(settings.store))
        engine = await open_engine(stack, settings, await google(stack, settings.impersonate))
        api, entrance = engine.api(), engine.entrance(issuers)
        await stack.enter_async_context(server.serve(engine.web(api, entrance), listening))
        await stack.enter_async_context(engine.alive(stopping))
        beside_it = [asyncio.create_task(_check_queues(settings))]
        if reload is not None:
            beside_it.append(asyncio.create_task(Rotation(reload, engine.calls, entrance, engine.clock).keep()))
        for each in beside_it:
            stack.callback(each.cancel)
        await asyncio.to_thread(api.warm)
        yield url


async def _check_queues(settings: Settings) -> None:
    """Say in the log what is not as it must be about the queues: with retries of their own they give up what only a runner may."""
    from longcall.assembly import checks  # noqa: PLC0415 — what only doctor and a start look at

    for finding in await checks.queues(settings, []):
        if finding.level is not Level.OK:
            observe.queue_odd(finding.says, finding.todo)


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
        engine = await open_engine(stack, replace(settings, queue_endpoint=f"http://{HOST}:{embedded.rest_port}"), tokens)
        api = engine.api()
        await stack.enter_async_context(server.serve(engine.web(api, engine.entrance(options.issuers)), listening))
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
        return await google(stack, settings.impersonate)
    now = SystemClock().now
    return await stack.enter_async_context(Tokens.open(LocalIssuer(embedded.issuer.id_token, now), now, implied=False))


def beside(store: str) -> str:
    """Where bodies lie when it is not said: beside the SQLite file. Raises CallerMistake for any other store."""
    if not store.startswith("sqlite:"):
        raise CallerMistake("LONGCALL_BODIES is not set: only beside a SQLite file is it known where large bodies lie")
    return (Path(store.partition("://")[2].removeprefix("/")).resolve().parent / "bodies").as_uri()
