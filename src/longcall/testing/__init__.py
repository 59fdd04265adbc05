"""For tests of the engine and of your own stores and callers: stand-ins for the engine's ports, and the suite a store must pass.

And a pytest plugin with a Cloud Tasks server: importing this package costs next to nothing, since pytest does it at every start.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longcall.testing.contract import StoreContract
    from longcall.testing.fakes import FakeBodies, FakeCaller, FakeClock, FakeQueue, Put, ok, settled

__all__ = ["FakeBodies", "FakeCaller", "FakeClock", "FakeQueue", "Put", "StoreContract", "ok", "settled"]


def __getattr__(name: str) -> object:
    """Load what is asked for; the suite only for those who have pytest, which is to say what was compared."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 — see above

    if name != "StoreContract":
        return getattr(import_module("longcall.testing.fakes"), name)
    import pytest  # noqa: PLC0415 — only tests have it

    pytest.register_assert_rewrite("longcall.testing.contract")
    return import_module("longcall.testing.contract").StoreContract
