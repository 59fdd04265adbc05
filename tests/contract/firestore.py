"""The Firestore store under contract, in Google's emulator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from longcall.core.wire import dumps, loads
from longcall.stores.firestore_documents import name_of
from tests.contract.stores import Clock, Driver
from tests.firestore import opened


@asynccontextmanager
async def firestore() -> AsyncIterator[Driver]:
    """The store in a database of its own. The server's clock can't be moved: what it dated is dated back."""
    async with opened(Clock().now) as store:
        tasks, runners = store._tasks, store._runners  # noqa: SLF001 — a test writes what no store would

        async def elapse(time: timedelta) -> None:
            known = await runners.get()
            await asyncio.gather(*(runner.reference.update({"beatTime": runner.get("beatTime") - time}) for runner in known))

        async def plant(task_id: str, fields: dict[str, object]) -> None:
            document = tasks.document(name_of(task_id))
            found = await document.get()
            await document.update({"doc": dumps(loads(found.get("doc")) | fields)})

        yield Driver(store, elapse, plant)
