"""The dashboard of a store with many tasks, for whoever measures its pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import httpx2

from longcall.engine.control import Control
from longcall.outbound.clock import SystemClock
from longcall.stores.sqlite import SqliteStore
from longcall.web import server
from tests.engine.house import House
from tests.web import scenes
from tests.web.stand import edge


async def fill(store: SqliteStore, tasks: int) -> None:
    """Put tasks of every state there, over the last hours and days."""
    made = iter(scenes.evenly(datetime.now(UTC), tasks, apart=25))  # noqa: TID251 — the server's own clock is the machine's
    while batch := list(islice(made, 500)):
        await asyncio.gather(*(store.insert(task) for task in batch))


@asynccontextmanager
async def furnished(folder: Path, tasks: int) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who looks at so many tasks, over a socket. Nothing is called: there is nobody who would do it."""
    clock = SystemClock()
    house = House(clock=clock)  # type: ignore[arg-type] # here it is the real time
    async with SqliteStore.open(folder / "longcall.db", clock.now) as store:
        await fill(store, tasks)
        house.store = store  # type: ignore[assignment] # the house's own would be in memory
        house.control = Control(store, house.bodies, clock, house.owing, house.admission)
        with server.listen("127.0.0.1", 0) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with server.serve(await edge(house, url=url), listening), httpx2.AsyncClient(base_url=url, timeout=30) as http:
                yield http
