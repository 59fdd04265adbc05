"""For tests of the engine and of your own stores and callers: stand-ins for the engine's ports, and the suite a store must pass."""

from typing import TYPE_CHECKING

from longcall.testing.fakes import FakeBodies, FakeCaller, FakeClock, FakeQueue, Put, ok, settled

if TYPE_CHECKING:
    from longcall.testing.contract import StoreContract as StoreContract

__all__ = ["FakeBodies", "FakeCaller", "FakeClock", "FakeQueue", "Put", "StoreContract", "ok", "settled"]


def __getattr__(name: str) -> object:
    """Load the suite only for those who have pytest, and let pytest say what was compared."""
    if name != "StoreContract":
        raise AttributeError(name)
    import pytest  # noqa: PLC0415 — only tests have it

    pytest.register_assert_rewrite("longcall.testing.contract")
    from longcall.testing.contract import StoreContract  # noqa: PLC0415 — after the line above

    return StoreContract
