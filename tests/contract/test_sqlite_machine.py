"""SQLite beside memory."""

from contextlib import AbstractAsyncContextManager

import pytest

from longcall.engine.ports import Store
from longcall.stores import open_store
from tests.contract.machine import SETTINGS, Stores


class SqliteBesideMemory(Stores):
    """The store in a file, which has the same clock."""

    def other(self) -> AbstractAsyncContextManager[Store]:
        """A new file."""
        return open_store(f"sqlite:///{self.folder}/longcall.db", self.now)


# Only a failure takes long: hypothesis then looks for its shortest form.
TestSqliteBesideMemory = pytest.mark.timeout(300)(SqliteBesideMemory.TestCase)
TestSqliteBesideMemory.settings = SETTINGS
