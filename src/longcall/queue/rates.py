"""How fast and how many at once: a token bucket and a count of what is open.

https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#RateLimits
"""

from longcall.queue.model import RateLimits


class Limiter:
    """One queue's rate and concurrency. Times are seconds on a clock that never goes back."""

    def __init__(self, limits: RateLimits, at: float) -> None:
        self._limits = limits
        self._burst = float(max(limits.max_burst_size, 1))
        self._tokens = self._burst
        self._filled_at = at
        self.open: int = 0

    def change(self, limits: RateLimits, at: float) -> None:
        """Take other limits; what is open stays counted."""
        self._refill(at)
        self._limits = limits
        self._burst = float(max(limits.max_burst_size, 1))
        self._tokens = min(self._tokens, self._burst)

    def room(self, at: float) -> int:
        """Return how many may begin now."""
        self._refill(at)
        return max(min(int(self._tokens), self._limits.max_concurrent_dispatches - self.open), 0)

    def begin(self, count: int) -> None:
        """Count ``count`` as begun; also those that begin past the limits, because somebody said so."""
        self._tokens -= count
        self.open += count

    def end(self, count: int = 1) -> None:
        """Count ``count`` as ended."""
        self.open -= count

    def unused(self, count: int) -> None:
        """Give back what was begun for nothing."""
        self._tokens = min(self._tokens + count, self._burst)
        self.open -= count

    def seconds_to_token(self, at: float) -> float | None:
        """Return how long until the rate allows one more: 0 if it does now, None if concurrency is what forbids it."""
        self._refill(at)
        if self.open >= self._limits.max_concurrent_dispatches:
            return None
        return max(1.0 - self._tokens, 0.0) / self._limits.max_dispatches_per_second

    def _refill(self, at: float) -> None:
        gained = (at - self._filled_at) * self._limits.max_dispatches_per_second
        self._tokens = min(self._tokens + gained, self._burst)
        self._filled_at = at
