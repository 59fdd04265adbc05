"""How often somebody may do something: a token bucket for each name, and the headers that tell of it.

RateLimit and RateLimit-Policy as in draft-ietf-httpapi-ratelimit-headers-10: structured lists of a quoted policy with parameters.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a try, and what is left. In seconds: `wait` until the next one is let through, `full_in` until all is back."""

    passed: bool
    left: float
    wait: float
    full_in: float


@dataclass(frozen=True)
class Rate:
    """So many a second, and so many at once."""

    policy: str
    per_second: float
    burst: int

    def spend(self, left: float, passed_time: float) -> Reading:
        """Take one out of a bucket that had `left` in it `passed_time` seconds ago."""
        now = min(self.burst, left + max(0.0, passed_time) * self.per_second)
        passed = now >= 1
        rest = now - 1 if passed else now
        return Reading(passed, rest, max(0.0, (1 - rest) / self.per_second), (self.burst - rest) / self.per_second)

    def headers(self, reading: Reading) -> dict[str, str]:
        """What an answer tells of it; Retry-After when the try was refused."""
        told = {
            "RateLimit-Policy": f'"{self.policy}";q={self.burst};w={math.ceil(self.burst / self.per_second)}',
            "RateLimit": f'"{self.policy}";r={math.floor(reading.left)};t={math.ceil(reading.full_in)}',
        }
        return told if reading.passed else told | {"Retry-After": str(max(1, math.ceil(reading.wait)))}


@dataclass
class Buckets:
    """One bucket a name; the names seen longest ago are forgotten, and begin anew with a full one."""

    rate: Rate
    monotonic: Callable[[], float]
    most: int = MOST_NAMES
    _seen: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def look(self, name: str) -> Reading:
        """What a try would find, without making it."""
        left, since = self._seen.get(name, (float(self.rate.burst), 0.0))
        return self.rate.spend(left, self.monotonic() - since)

    def take(self, name: str) -> Reading:
        """Make a try."""
        reading = self.look(name)
        self._seen[name] = (reading.left, self.monotonic())
        self._seen.move_to_end(name)
        if len(self._seen) > self.most:
            self._seen.popitem(last=False)
        return reading
