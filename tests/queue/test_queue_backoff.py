from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longcall.queue.backoff import is_spent, wait_before
from longcall.queue.model import RetryConfig, RetryOverride

_SPANS = st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=365))
_CONFIGS = st.builds(
    lambda spans, doublings: RetryConfig(min_backoff=min(spans), max_backoff=max(spans), max_doublings=doublings),
    st.tuples(_SPANS, _SPANS),
    st.integers(0, 2_000_000_000),
)


def _seconds(config: RetryConfig, count: int) -> list[float]:
    return [wait_before(retry, config).total_seconds() for retry in range(1, count + 1)]


def test_waits_of_the_documented_example() -> None:
    """The waits are those of Google's own example: doubled three times, then linear, then the maximum."""
    config = RetryConfig(min_backoff=timedelta(seconds=10), max_backoff=timedelta(seconds=300), max_doublings=3)
    assert _seconds(config, 8) == [10, 20, 40, 80, 160, 240, 300, 300]


def test_no_doublings_is_linear() -> None:
    """With max_doublings 0 each wait is longer by min_backoff."""
    config = RetryConfig(min_backoff=timedelta(seconds=10), max_doublings=0)
    assert _seconds(config, 4) == [10, 20, 30, 40]


@given(_CONFIGS, st.integers(1, 10_000))
@settings(deadline=None)
def test_waits_stay_between_the_backoffs_and_never_shrink(config: RetryConfig, retry: int) -> None:
    """Every wait lies between min_backoff and max_backoff, and none is shorter than the one before."""
    wait = wait_before(retry, config)
    assert config.min_backoff <= wait <= config.max_backoff
    assert wait <= wait_before(retry + 1, config)


@given(st.integers(0, 10), st.integers(1, 20))
@settings(deadline=None)
def test_after_the_doublings_the_steps_are_equal(doublings: int, step: int) -> None:
    """After max_doublings each wait is longer than the last by the last doubled wait."""
    config = RetryConfig(min_backoff=timedelta(seconds=1), max_backoff=timedelta(days=365), max_doublings=doublings)
    longer = wait_before(doublings + step + 1, config) - wait_before(doublings + step, config)
    assert longer == timedelta(seconds=2**doublings)


@pytest.mark.parametrize(
    ("max_attempts", "max_seconds", "attempts", "age", "spent"),
    [
        (3, 0, 2, 9, False),
        (3, 0, 3, 0, True),
        (3, 10, 3, 9, False),
        (3, 10, 2, 10, False),
        (3, 10, 3, 10, True),
        (-1, 0, 10_000, 10_000_000, False),
        (-1, 10, 1, 9, False),
        (-1, 10, 1, 10, True),
    ],
)
def test_retrying_stops_when_every_set_limit_is_reached(
    max_attempts: int, max_seconds: int, attempts: int, age: int, *, spent: bool
) -> None:
    """Retrying stops when attempts and age have both reached their limit; one that is not set is no limit."""
    config = RetryConfig(max_attempts=max_attempts, max_retry_duration=timedelta(seconds=max_seconds))
    assert is_spent(config, attempts, timedelta(seconds=age)) is spent


def test_a_task_overrides_only_what_it_sets() -> None:
    """A task's own retry configuration goes over its queue's, value by value."""
    base = RetryConfig(max_attempts=7, max_doublings=2)
    assert RetryOverride(max_attempts=1).over(base) == RetryConfig(max_attempts=1, max_doublings=2)
