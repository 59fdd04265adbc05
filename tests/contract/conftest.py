"""What the suite asks of a store's driver, as fixtures. A test class brings the driver itself."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from longcall.engine.ports import Store
from tests.contract.stores import Driver


@pytest.fixture
def store(driver: Driver) -> Store:
    """The store."""
    return driver.store


@pytest.fixture
def elapse(driver: Driver) -> Callable[[timedelta], Awaitable[None]]:
    """Let so much time pass on the store's own clock."""
    return driver.elapse


@pytest.fixture
def plant(driver: Driver) -> Callable[[str, dict[str, object]], Awaitable[None]]:
    """Write fields into a record's JSON past the store, as another release might have."""
    return driver.plant
