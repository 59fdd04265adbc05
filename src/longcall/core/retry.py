"""Whether an attempt is made again, and when: one pure decision."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import assert_never

from longcall.core.attempt import Break, Broken, Outcome, Responded

MAX_RETRY_AFTER = timedelta(hours=1)
MAX_DRAINS = 10
RETRY_AFTER_STATUSES = frozenset({429, 503})
RETRYABLE_BREAKS = (Break.UNREACHABLE, Break.DISCONNECTED, Break.TIMED_OUT, Break.INTERRUPTED)


class Jitter(StrEnum):
    """How a wait b is spread: `none` b, `equal` b/2 to b, `full` 0 to b."""

    NONE = "none"
    EQUAL = "equal"
    FULL = "full"

    @property
    def share(self) -> float:
        """The part of a wait that is left to chance."""
        return {Jitter.NONE: 0.0, Jitter.EQUAL: 0.5, Jitter.FULL: 1.0}[self]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again. `max_attempts` counts the first; `retry_on` holds outcome names, statuses ("503") and classes of them ("5xx")."""

    max_attempts: int = 5
    min_backoff: timedelta = timedelta(seconds=10)
    max_backoff: timedelta = timedelta(seconds=600)
    multiplier: float = 3.0
    jitter: Jitter = Jitter.EQUAL
    retry_on: tuple[str, ...] = ("unreachable", "disconnected", "interrupted", "408", "425", "429", "500", "502", "503")

    @classmethod
    def only_if_not_sent(cls) -> "RetryPolicy":
        """Try again only what certainly never reached the target."""
        return cls(retry_on=(Break.UNREACHABLE.value,))


@dataclass(frozen=True, slots=True)
class Budget:
    """What has been used since creation or the last `:retry`: attempts that count, and drains, which do not."""

    start: datetime
    tries: int = 0
    drains: int = 0


@dataclass(frozen=True, slots=True)
class Succeed:
    """2xx."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Make the next attempt at this time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No more attempts; `reason` is the task's failure reason, `why` a sentence."""

    reason: str
    why: str


Decision = Succeed | TryAgain | GiveUp


def is_retryable(item: str) -> bool:
    """Tell whether `retryOn` may hold this: an outcome's name, a status, or a class of statuses."""
    return item in {each.value for each in RETRYABLE_BREAKS} or _is_status(item)


def _is_status(item: str) -> bool:
    return len(item) == 3 and item[0] in "345" and (item[1:] == "xx" or (item.isascii() and item.isdigit()))  # noqa: PLR2004 — HTTP statuses have three digits


def backoff(policy: RetryPolicy, tries: int) -> timedelta:
    """The wait before jitter after `tries` attempts (at least 1): min(maxBackoff, minBackoff x multiplier^(tries-1)). Never overflows."""
    low, high = policy.min_backoff.total_seconds(), policy.max_backoff.total_seconds()
    if low <= 0 or low >= high:
        return timedelta(seconds=min(max(low, 0), high))
    if (tries - 1) * math.log(policy.multiplier) >= math.log(high / low):
        return policy.max_backoff
    return timedelta(seconds=min(high, low * policy.multiplier ** (tries - 1)))


def jittered(policy: RetryPolicy, wait: timedelta, floor: timedelta, chance: float) -> timedelta:
    """Spread `wait` by `chance` (0 up to 1), never below `floor`: what chance adds is added on top of it."""
    spread = wait * policy.jitter.share
    return max(wait - spread, floor) + spread * chance


def retry_after(outcome: Outcome, now: datetime) -> timedelta:
    """The floor a target sets by Retry-After on 429 or 503, at most 1 h (RFC 9110, 10.2.3); zero without one."""
    if not isinstance(outcome, Responded) or outcome.response.status not in RETRY_AFTER_STATUSES:
        return timedelta()
    asked = _parse_retry_after(outcome.response.header("retry-after") or "", now)
    return min(max(asked, timedelta()), MAX_RETRY_AFTER)


def _parse_retry_after(text: str, now: datetime) -> timedelta:
    text = text.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 10**9))
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):  # no date, or one that can't be reckoned with
        return timedelta()


def reason_of(outcome: Outcome) -> str:
    """The failure reason an outcome stands for."""
    return "status" if isinstance(outcome, Responded) else outcome.how.value


def decide(policy: RetryPolicy, outcome: Outcome, budget: Budget, deadline: datetime | None, now: datetime, chance: float) -> Decision:
    """What follows this outcome. `budget` counts it already; `deadline` is where `taskTimeout` ends; `chance` is 0 up to 1."""
    if outcome.ok:
        return Succeed()
    if why := _why_not(policy, outcome, budget):
        return GiveUp(reason_of(outcome), why)
    at = now + _wait(policy, outcome, budget, now, chance)
    if deadline is not None and at >= deadline:
        return GiveUp("task_timeout", "the next attempt would begin after taskTimeout")
    return TryAgain(at)


def _wait(policy: RetryPolicy, outcome: Outcome, budget: Budget, now: datetime, chance: float) -> timedelta:
    if isinstance(outcome, Broken) and outcome.how is Break.INTERRUPTED:
        return timedelta()
    return jittered(policy, backoff(policy, max(budget.tries, 1)), retry_after(outcome, now), chance)


def _why_not(policy: RetryPolicy, outcome: Outcome, budget: Budget) -> str:
    if _forbidden(outcome):
        return "the target said Longcall-Retry: never"
    if not _wanted(policy, outcome):
        return "retryOn does not name this outcome"
    if isinstance(outcome, Broken) and outcome.drained:
        return f"{MAX_DRAINS} runners were stopped under it" if budget.drains >= MAX_DRAINS else ""
    used = "its only attempt is used" if policy.max_attempts == 1 else f"all {policy.max_attempts} attempts are used"
    return used if budget.tries >= policy.max_attempts else ""


def _forbidden(outcome: Outcome) -> bool:
    return isinstance(outcome, Responded) and (outcome.response.header("longcall-retry") or "").strip().lower() == "never"


def _wanted(policy: RetryPolicy, outcome: Outcome) -> bool:
    match outcome:
        case Broken():
            return outcome.how.value in policy.retry_on
        case Responded():
            status = str(outcome.response.status)
            return status in policy.retry_on or f"{status[0]}xx" in policy.retry_on
        case _:
            assert_never(outcome)
