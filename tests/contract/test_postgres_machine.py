"""PostgreSQL beside memory."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

import pytest
from hypothesis import settings

from longcall.engine.ports import Store
from longcall.stores import open_store
from tests.contract.machine import SETTINGS, Stores
from tests.postgres import Postgres


class PostgresBesideMemory(Stores):
    """The store in a database of its own, which has the server's clock."""

    same_clock = False
    server: ClassVar[Postgres]

    def other(self) -> AbstractAsyncContextManager[Store]:
        """A new database."""
        return self.opened()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """The store in it; the database goes with it."""
        async with self.server.database() as url, open_store(url, self.now) as store:
            yield store


@pytest.fixture(scope="module", autouse=True)
def server(postgres: Postgres) -> Iterator[None]:
    """The machine makes its databases here."""
    PostgresBesideMemory.server = postgres
    yield
    del PostgresBesideMemory.server


# Only a failure takes long: hypothesis then looks for its shortest form.
TestPostgresBesideMemory = pytest.mark.timeout(300)(PostgresBesideMemory.TestCase)
TestPostgresBesideMemory.settings = settings(SETTINGS, max_examples=40)
