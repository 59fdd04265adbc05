from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from longcall.queue.model import RateLimits
from longcall.queue.rates import Limiter

_LIMITS = st.builds(RateLimits, st.floats(0.1, 5000), st.integers(1, 500), st.integers(1, 5000))
_GAPS = st.lists(st.floats(0, 5), min_size=1, max_size=50)


@given(_LIMITS, _GAPS)
@settings(deadline=None)
def test_no_window_begins_more_than_burst_and_rate(limits: RateLimits, gaps: Sequence[float]) -> None:
    """Whoever begins whatever there is room for begins at most the burst and what the rate adds."""
    limiter, at, begun = Limiter(limits, 0.0), 0.0, 0
    for gap in gaps:
        at += gap
        room = limiter.room(at)
        limiter.begin(room)
        limiter.end(room)
        begun += room
        assert begun <= limits.max_burst_size + at * limits.max_dispatches_per_second + 1e-6


@given(_LIMITS, _GAPS)
@settings(deadline=None)
def test_never_more_open_than_allowed(limits: RateLimits, gaps: Sequence[float]) -> None:
    """Whoever keeps to the room never has more open than max_concurrent_dispatches."""
    limiter, at = Limiter(limits, 0.0), 0.0
    for gap in gaps:
        at += gap
        limiter.begin(limiter.room(at))
        assert limiter.open <= limits.max_concurrent_dispatches


@given(_LIMITS)
@settings(deadline=None)
def test_after_the_wait_there_is_room(limits: RateLimits) -> None:
    """After the seconds the limiter names, the rate allows one more."""
    limiter = Limiter(limits, 0.0)
    limiter.begin(room := limiter.room(0.0))
    limiter.end(room)
    seconds = limiter.seconds_to_token(0.0)
    assert seconds is not None
    assert limiter.room(seconds + 1e-6) >= 1


def test_full_concurrency_names_no_time() -> None:
    """When concurrency is what forbids the next one, no time is named: only an end helps."""
    limiter = Limiter(RateLimits(max_concurrent_dispatches=1), 0.0)
    limiter.begin(1)
    assert limiter.seconds_to_token(100.0) is None
    limiter.end()
    assert limiter.seconds_to_token(100.0) == 0.0


def test_what_was_begun_for_nothing_is_given_back() -> None:
    """Tokens and places of tasks that turned out deleted are there again."""
    limiter = Limiter(RateLimits(max_burst_size=10), 0.0)
    limiter.begin(10)
    limiter.unused(4)
    assert (limiter.room(0.0), limiter.open) == (4, 6)


def test_new_limits_hold_at_once() -> None:
    """A lower burst cuts the tokens that have piled up, and what is open stays counted."""
    limiter = Limiter(RateLimits(max_burst_size=100), 0.0)
    limiter.begin(3)
    limiter.change(RateLimits(max_burst_size=5, max_concurrent_dispatches=7), 0.0)
    assert limiter.room(0.0) == 4
