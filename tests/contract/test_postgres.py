"""The contract, kept by PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from longcall.testing import StoreContract
from tests.contract.postgres import postgres as opened
from tests.contract.stores import Driver
from tests.postgres import Postgres


class TestPostgresStore(StoreContract):
    """Records in a PostgreSQL database."""

    @pytest.fixture
    async def driver(self, postgres: Postgres) -> AsyncIterator[Driver]:
        """The store in a database of its own."""
        async with opened(postgres) as driver:
            yield driver
