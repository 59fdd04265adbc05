"""The two queues Longcall itself stands on, as its setup makes them on Google Cloud."""

from collections.abc import Sequence
from datetime import timedelta

from longcall.queue.model import QueueConfig, RateLimits, RetryConfig

# The queue's retries only bring a task back to a runner.
_RETRIES = RetryConfig(
    max_attempts=-1, min_backoff=timedelta(seconds=1), max_backoff=timedelta(seconds=30), max_doublings=5, max_retry_duration=timedelta()
)
# A queue on one's own machine need not hold back: there is no quota to keep, and every held call is an open dispatch.
_RATES = RateLimits(max_dispatches_per_second=10_000.0, max_concurrent_dispatches=100_000)


def own_queues(*names: str) -> Sequence[QueueConfig]:
    """Return the configurations of Longcall's own queues, by their full names."""
    return [QueueConfig(name, retry=_RETRIES, rates=_RATES) for name in names]
