import pytest
from starlette.requests import Request

from longcall.core.errors import UnavailableError
from longcall.stores.memory import MemoryStore
from longcall.testing import FakeBodies, FakeClock, FakeQueue
from longcall.web.app import Readiness

CALLS, CONTROL = "projects/p/locations/l/queues/calls", "projects/p/locations/l/queues/control"


class Away(MemoryStore, FakeBodies, FakeQueue):  # type: ignore[misc] # each port's ping is one and the same here
    """A part that does not answer."""

    def __init__(self) -> None:
        super().__init__(FakeClock().now)

    async def ping(self, *_: object) -> None:
        """Say so."""
        raise UnavailableError("it does not answer")


@pytest.mark.parametrize("what", ["store", "bodies", "queue"])
async def test_what_is_out_of_reach_is_named(what: str) -> None:
    """One that is away is named, with what is wrong; those in reach are not."""
    parts = {"store": MemoryStore(FakeClock().now), "bodies": FakeBodies(), "queue": FakeQueue()} | {what: Away()}
    ready = Readiness(**parts, queues=(CALLS, CONTROL))  # type: ignore[arg-type] # as above
    with pytest.raises(UnavailableError) as caught:
        await ready.answer(Request({"type": "http"}))
    away = (CALLS, CONTROL) if what == "queue" else (what,)
    assert str(caught.value) == "; ".join(f"{name}: it does not answer" for name in away)
