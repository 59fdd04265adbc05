"""Token buckets."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from longcall.web.rates import Buckets, Rate

RATE = Rate("create", per_second=5, burst=10)


@dataclass
class Ticks:
    """A clock that is set by hand."""

    at: float = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.at


@given(steps=st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_no_more_than_a_burst_and_the_rate_get_through(steps: list[float]) -> None:
    """Whatever the times between tries: over any time from the start, burst plus rate times that time, and never fewer than are owed."""
    clock = Ticks()
    buckets = Buckets(RATE, clock)
    passed = 0
    for step in steps:
        clock.at += step
        before = buckets.look("ann")
        reading = buckets.take("ann")
        assert reading == before
        passed += reading.passed
        assert passed <= RATE.burst + RATE.per_second * clock.at + 1e-6
        assert 0 <= reading.left <= RATE.burst
        assert reading.passed or reading.wait > 0


def test_a_refused_try_costs_nothing_and_says_when() -> None:
    """Whoever waits for as long as is said gets through, however often they tried meanwhile."""
    clock = Ticks()
    buckets = Buckets(RATE, clock)
    assert all(buckets.take("ann").passed for _ in range(10))
    refused = [buckets.take("ann") for _ in range(50)]
    assert not any(each.passed for each in refused)
    assert buckets.take("bob").passed
    clock.at += refused[-1].wait + 1e-9
    assert buckets.take("ann").passed


def test_the_headers_say_what_is_left() -> None:
    """Ten in two seconds; one is spent, and is back in a second at most. Retry-After only with a refusal."""
    buckets = Buckets(RATE, Ticks())
    assert RATE.headers(buckets.take("ann")) == {"RateLimit-Policy": '"create";q=10;w=2', "RateLimit": '"create";r=9;t=1'}
    for _ in range(9):
        buckets.take("ann")
    assert RATE.headers(buckets.take("ann")) == {
        "RateLimit-Policy": '"create";q=10;w=2',
        "RateLimit": '"create";r=0;t=2',
        "Retry-After": "1",
    }


def test_names_are_forgotten_in_time() -> None:
    """Many addresses do not fill the memory; the ones used last are kept."""
    buckets = Buckets(RATE, Ticks(), most=3)
    for name in ("a", "b", "c", "a", "d"):
        buckets.take(name)
    assert [round(buckets.look(name).left) for name in ("a", "b", "c", "d")] == [7, 9, 8, 8]
