"""The ASGI app: the queue's door and the health checks at once, the API when it is first asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from longcall.core.errors import LongcallError, UnavailableError
from longcall.core.wire import dumps
from longcall.engine.ports import Bodies, Queue, Store
from longcall.web import problems
from longcall.web.auth import FORMS
from longcall.web.dispatch import DispatchDoor
from longcall.web.edge import Edge
from longcall.web.login import Login
from longcall.web.static import Static

# App Engine asks the first before it serves anything, and takes 2xx or 404 for yes: whoever asks it for a token is never served.
APP_ENGINE = ("/_ah/start", "/_ah/stop")


@dataclass
class Lazy:
    """An ASGI app made on its first request, or by `warm`."""

    make: Callable[[], ASGIApp]
    _made: ASGIApp | None = field(default=None)

    def warm(self) -> ASGIApp:
        """Make it now."""
        if self._made is None:
            self._made = self.make()
        return self._made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Making it takes up to half a second, which other requests and held calls need not wait for."""
        made = self._made if self._made is not None else await asyncio.to_thread(self.warm)
        await made(scope, receive, send)


@dataclass(frozen=True)
class Behind:
    """What is behind the gate: pages for people, and the API."""

    api: ASGIApp
    dashboard: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"]
        page = path in {"/", "/tasks"} or path.startswith(FORMS)
        await (self.dashboard if page else self.api)(scope, receive, send)


@dataclass(frozen=True)
class Readiness:
    """Whether what a runner needs is in reach. Everybody may ask; `reasons`: whether they are told why it is not."""

    store: Store
    bodies: Bodies
    queue: Queue
    queues: tuple[str, ...]
    reasons: bool = True
    limit: float = 5.0  # seconds

    async def answer(self, _: Request) -> Response:
        """200, or 503 naming what is out of reach."""
        checks = {"store": self.store.ping(), "bodies": self.bodies.ping(), **{name: self.queue.ping(name) for name in self.queues}}
        found = await asyncio.gather(*(self._tried(check) for check in checks.values()))
        away = {name: trouble for name, trouble in zip(checks, found, strict=True) if trouble}
        if away:
            raise UnavailableError("; ".join(f"{name}: {trouble if self.reasons else 'out of reach'}" for name, trouble in away.items()))
        return Response(dumps({"ready": True}), media_type="application/json")

    async def _tried(self, check: Awaitable[None]) -> str:
        try:
            async with asyncio.timeout(self.limit):
                await check
        except (LongcallError, TimeoutError) as error:
            return str(error) or "no answer"
        return ""


@dataclass(frozen=True)
class Metrics:
    """`/metrics`. `expose` gives the text and its type, as an Accept header asks for it."""

    expose: Callable[[str], Awaitable[tuple[bytes, str]]]

    async def answer(self, request: Request) -> Response:
        """What Prometheus reads."""
        text, content_type = await self.expose(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    def beside(self, api: ASGIApp) -> ASGIApp:
        """Put it before the API, behind the same gate: who may read tasks may read how many there are."""
        return Router([Route("/metrics", self.answer), Mount("/", api)])


@dataclass(frozen=True, slots=True)
class Front:
    """The queue's door before all others: what is busiest need not look for its route."""

    dispatch: ASGIApp
    others: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await (self.dispatch if scope["path"] == "/dispatch" else self.others)(scope, receive, send)


def make(door: DispatchDoor, readiness: Readiness, behind: ASGIApp, login: Login | None = None) -> ASGIApp:
    """Put the doors together. Whatever is not named here is behind the gate."""
    logins = [Route("/login", login.answer, methods=["GET", "POST"]), Route("/logout", login.end, methods=["POST"])] if login else []
    doors = Starlette(
        routes=[
            Route("/healthz", _healthy),
            Route("/readyz", readiness.answer),
            Route("/static/{name}", Static.load().answer),
            *(Route(path, _healthy) for path in APP_ENGINE),
            *logins,
            Mount("/", behind),
        ],
        exception_handlers={LongcallError: problems.answer, HTTPException: problems.answer, Exception: problems.answer},
    )
    return Edge(Front(ServerErrorMiddleware(door, problems.answer), doors))


async def _healthy(_: Request) -> Response:
    return Response(b'{"healthy":true}', media_type="application/json")
