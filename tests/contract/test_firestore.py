"""The contract, kept by the store in Firestore."""

from collections.abc import AsyncIterator

import pytest

from longcall.testing import StoreContract
from tests.contract.firestore import firestore
from tests.contract.stores import Driver


class TestFirestoreStore(StoreContract):
    """Records in Firestore."""

    @pytest.fixture
    async def driver(self) -> AsyncIterator[Driver]:
        """A new database."""
        async with firestore() as driver:
            yield driver
