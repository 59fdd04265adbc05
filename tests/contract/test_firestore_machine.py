"""Firestore beside memory."""

from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import settings

from longcall.engine.ports import Store
from tests.contract.machine import SETTINGS, Stores
from tests.firestore import emulator, opened


class FirestoreBesideMemory(Stores):
    """The store in Firestore, whose clock is the server's."""

    same_clock = False

    def __init__(self) -> None:
        emulator()  # or the reason why there is none, before anything is opened
        super().__init__()

    def other(self) -> AbstractAsyncContextManager[Store]:
        """A new database."""
        return opened(self.now)


# Only a failure takes long: hypothesis then looks for its shortest form.
TestFirestoreBesideMemory = pytest.mark.timeout(300)(FirestoreBesideMemory.TestCase)
# Each step asks a server over two dozen times.
TestFirestoreBesideMemory.settings = settings(SETTINGS, max_examples=10, stateful_step_count=25)
