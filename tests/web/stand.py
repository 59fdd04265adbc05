"""The whole edge over a house: pages, API, gate and login, with tasks as a test puts them there."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import httpx2
from starlette.types import ASGIApp

from longcall.core.task import Task
from longcall.engine.requeue import Requeue
from longcall.engine.stats import Stats
from longcall.web import api, app
from longcall.web.auth import Gate, Guard, NoGuard, TokenGuard
from longcall.web.dashboard import site
from longcall.web.dispatch import DispatchDoor
from longcall.web.login import FAILURES, Login
from longcall.web.rates import Buckets, Rate
from longcall.web.render import Renderer
from longcall.web.schema import Reader
from tests.engine.house import House
from tests.making import QUEUE
from tests.web.entrances import TOKENS

URL = "http://localhost"


def pages_of(house: House, *, asks: bool = False, project: str = "", url: str = URL) -> site.Parts:
    """What the dashboard of a house is made of."""
    return site.Parts(house.control, Stats.of(house.store, house.clock), house.clock, Renderer(url), url, "0.0", project, asks)


async def edge(house: House, *, tokens: bool = False, project: str = "", url: str = URL) -> ASGIApp:
    """The app; with `tokens` whoever comes is asked for one."""
    clock, parts = house.clock, pages_of(house, asks=tokens, project=project, url=url)
    pages = site.make(parts)
    requeue, reader = Requeue(house.control), Reader(frozenset())
    rest = api.make(api.Parts(house.submitter, house.control, requeue, clock, reader, parts.renderer, parts.stats, tokens))
    guard: Guard = TokenGuard(TOKENS, "", clock) if tokens else NoGuard(())
    gate = Gate(app.Behind(rest, pages), guard, Buckets(Rate("create", 500, 1000), clock.monotonic), (), app_engine=False, login="/login")
    login = Login(guard, Buckets(FAILURES, clock.monotonic), (), app_engine=False) if isinstance(guard, TokenGuard) else None
    door = DispatchDoor((await house.runner()).dispatcher, clock, Reader(frozenset()), [], "projects/p/locations/l")
    return app.make(door, app.Readiness(house.store, house.bodies, house.queue, (QUEUE,)), gate, login)


@asynccontextmanager
async def browsing(
    house: House, tasks: Iterable[Task] = (), *, tokens: bool = False, project: str = ""
) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who looks at these tasks."""
    for task in tasks:
        assert await house.store.insert(task)
    transport = httpx2.ASGITransport(await edge(house, tokens=tokens, project=project))
    async with httpx2.AsyncClient(transport=transport, base_url=URL) as http:
        yield http
