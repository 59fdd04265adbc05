"""The contract, kept by the stores of this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from longcall.testing import StoreContract
from tests.contract.stores import Driver, memory, sqlite


class TestMemoryStore(StoreContract):
    """Records in memory."""

    @pytest.fixture
    async def driver(self, tmp_path: Path) -> AsyncIterator[Driver]:
        """The store in memory."""
        async with memory(tmp_path) as driver:
            yield driver


class TestSqliteStore(StoreContract):
    """Records in a SQLite file."""

    @pytest.fixture
    async def driver(self, tmp_path: Path) -> AsyncIterator[Driver]:
        """The store in a SQLite file."""
        async with sqlite(tmp_path) as driver:
            yield driver
