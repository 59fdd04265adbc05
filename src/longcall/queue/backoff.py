"""Cloud Tasks' retry backoff, and when retrying stops.

https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RetryConfig
"""

from datetime import timedelta

from longcall.queue.model import RetryConfig

_MICROSECOND = timedelta(microseconds=1)
_ENOUGH = 64
"""Doublings after which a microsecond has passed every ``max_backoff``."""


def wait_before(retry: int, config: RetryConfig) -> timedelta:
    """Return the wait before retry number ``retry`` (1 follows the first failure).

    It doubles ``max_doublings`` times, then grows by the last doubled wait each time, and never passes ``max_backoff``.
    """
    doublings = min(retry - 1, config.max_doublings, _ENOUGH)
    steps = max(retry - config.max_doublings, 1)
    # In whole microseconds: 2 to a large power is no timedelta.
    wait = (config.min_backoff // _MICROSECOND << doublings) * steps
    return _MICROSECOND * min(wait, config.max_backoff // _MICROSECOND)


def is_spent(config: RetryConfig, attempts: int, age: timedelta) -> bool:
    """Say whether no more attempts are made. ``age`` is measured from the first attempt.

    Both limits must be reached; one that is not set never holds the other up.
    """
    limits_attempts = config.max_attempts > 0
    limits_age = config.max_retry_duration > timedelta(0)
    if not limits_attempts and not limits_age:
        return False
    attempts_spent = not limits_attempts or attempts >= config.max_attempts
    age_spent = not limits_age or age >= config.max_retry_duration
    return attempts_spent and age_spent
