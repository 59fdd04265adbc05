"""The PostgreSQL store under contract. Its clock is the server's, so what it knows is dated back instead."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg

from longcall.core.wire import dumps, loads
from longcall.stores.postgres import PostgresStore
from tests.contract.stores import Driver
from tests.postgres import Postgres


@asynccontextmanager
async def postgres(server: Postgres) -> AsyncIterator[Driver]:
    """The store in a database of its own."""
    async with server.database() as url:

        async def elapse(time: timedelta) -> None:
            await server.do("UPDATE longcall_runner SET beat_time = beat_time - $1::interval", time, url=url)

        async def plant(task_id: str, fields: dict[str, object]) -> None:
            connection = await asyncpg.connect(url)
            try:
                doc = await connection.fetchval("SELECT doc FROM longcall_task WHERE id = $1", task_id)
                changed = dumps(loads(doc) | fields).decode()
                await connection.execute("UPDATE longcall_task SET doc = $1 WHERE id = $2", changed, task_id)
            finally:
                await connection.close()

        async with PostgresStore.open(url, migrate=False) as store:
            yield Driver(store, elapse, plant)
