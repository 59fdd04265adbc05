import math
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from longcall.core.attempt import DRAINED, LOST, Break, Outcome
from longcall.core.retry import (
    MAX_DRAINS,
    MAX_RETRY_AFTER,
    Budget,
    GiveUp,
    Jitter,
    RetryPolicy,
    Succeed,
    TryAgain,
    backoff,
    decide,
    is_retryable,
    jittered,
    retry_after,
)
from tests.making import NOON, broken, chances, durations, moments, outcomes, policies, responded

SECOND = timedelta(seconds=1)
ONCE = Budget(NOON, tries=1)


@given(policies(), outcomes, st.integers(1, 10_000), st.integers(0, 20), st.none() | moments, moments, chances)
def test_no_attempt_is_made_past_a_stop(
    policy: RetryPolicy, outcome: Outcome, tries: int, drains: int, deadline: datetime | None, now: datetime, chance: float
) -> None:
    """An attempt is made again only within maxAttempts, taskTimeout and retryOn, and never before now."""
    decision = decide(policy, outcome, Budget(NOON, tries, drains), deadline, now, chance)
    assert isinstance(decision, Succeed) == outcome.ok
    if isinstance(decision, TryAgain):
        drained = outcome.trouble is not None and outcome.trouble.code == DRAINED
        assert tries < policy.max_attempts or drained
        assert deadline is None or decision.at < deadline
        assert decision.at >= now + retry_after(outcome, now)
        assert outcome.name in policy.retry_on or any(_names(item, outcome) for item in policy.retry_on)


def _names(item: str, outcome: Outcome) -> bool:
    status = str(outcome.response.status) if outcome.name == "response" and not hasattr(outcome, "how") else ""
    return bool(status) and item in {status, status[0] + "xx"}


@given(policies(), st.integers(1, 10_000))
def test_backoff_stays_within_its_bounds(policy: RetryPolicy, tries: int) -> None:
    """A wait before jitter lies between minBackoff and maxBackoff, also at attempt 10,000."""
    assert policy.min_backoff <= backoff(policy, tries) <= policy.max_backoff


@given(policies())
def test_backoff_never_shrinks(policy: RetryPolicy) -> None:
    """Each wait before jitter is at least as long as the one before."""
    waits = [backoff(policy, tries) for tries in range(1, 40)]
    assert all(shorter <= longer for shorter, longer in pairwise(waits))


def test_backoff_is_the_design_s_formula() -> None:
    """The default policy waits 10, 30, 90, 270, 600 s."""
    assert [backoff(RetryPolicy(), tries) / SECOND for tries in range(1, 7)] == [10, 30, 90, 270, 600, 600]


@given(policies(), durations, durations, chances)
def test_jitter_stays_within_its_bounds(policy: RetryPolicy, wait: timedelta, floor: timedelta, chance: float) -> None:
    """Jitter takes away at most its share, and adds to a floor at most as much as it could have taken."""
    spread = wait * policy.jitter.share
    got = jittered(policy, wait, floor, chance)
    assert max(wait - spread, floor) <= got <= max(wait, floor + spread)


@pytest.mark.parametrize(("jitter", "low"), [(Jitter.NONE, 100), (Jitter.EQUAL, 50), (Jitter.FULL, 0)])
def test_each_jitter_has_its_range(jitter: Jitter, low: float) -> None:
    """`none` b, `equal` b/2 up to b, `full` 0 up to b."""
    policy = RetryPolicy(jitter=jitter)
    assert jittered(policy, 100 * SECOND, timedelta(), 0) == low * SECOND
    assert math.isclose(jittered(policy, 100 * SECOND, timedelta(), 1 - 1e-12) / SECOND, 100)


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (429, "30", 30),
        (503, " 30 ", 30),
        (503, "Tue, 24 Nov 2026 12:00:45 GMT", 45),
        (503, "Tue, 24 Nov 2026 11:00:00 GMT", 0),
        (503, "999999999999999999999999", 3600),
        (503, "soon", 0),
        (503, "-5", 0),
        (500, "30", 0),
    ],
)
def test_retry_after_is_read_in_both_forms(status: int, text: str, seconds: float) -> None:
    """Retry-After counts on 429 and 503, as seconds or as a date, up to an hour."""
    assert retry_after(responded(status, retry_after=text), NOON) == seconds * SECOND


@given(policies(), st.integers(0, 4000), chances)
def test_the_floor_of_retry_after_holds(policy: RetryPolicy, seconds: int, chance: float) -> None:
    """A target that asks for time gets it, up to an hour."""
    assume("503" in policy.retry_on)
    decision = decide(policy, responded(503, retry_after=str(seconds)), Budget(NOON), None, NOON, chance)
    assert isinstance(decision, TryAgain)
    assert decision.at >= NOON + min(seconds * SECOND, MAX_RETRY_AFTER)


def test_a_target_can_end_it() -> None:
    """`Longcall-Retry: never` ends a task whatever its policy says."""
    assert isinstance(decide(RetryPolicy(), responded(503, longcall_retry="Never"), ONCE, None, NOON, 0), GiveUp)


def test_a_lost_attempt_goes_again_at_once() -> None:
    """What our own runner interrupted waits for no backoff, and counts."""
    assert decide(RetryPolicy(), broken(Break.INTERRUPTED, code=LOST), ONCE, None, NOON, 0.9) == TryAgain(NOON)
    assert isinstance(decide(RetryPolicy(max_attempts=1), broken(Break.INTERRUPTED, code=LOST), ONCE, None, NOON, 0), GiveUp)


def test_drains_do_not_count_but_end() -> None:
    """A drained attempt goes again even when all attempts are used; ten drains end the task."""
    spent = RetryPolicy(max_attempts=1)
    drained = broken(Break.INTERRUPTED, code=DRAINED)
    assert decide(spent, drained, Budget(NOON, tries=1, drains=1), None, NOON, 0) == TryAgain(NOON)
    assert isinstance(decide(spent, drained, Budget(NOON, tries=0, drains=MAX_DRAINS), None, NOON, 0), GiveUp)


@pytest.mark.parametrize("how", [Break.REFUSED, Break.CANCELLED, Break.TIMED_OUT])
def test_what_the_default_policy_never_repeats(how: Break) -> None:
    """A refused target, a cancelled call and one that ran out of time are not tried again by default."""
    assert isinstance(decide(RetryPolicy(), broken(how), ONCE, None, NOON, 0), GiveUp)


def test_only_what_was_not_sent_can_be_asked_for() -> None:
    """`only_if_not_sent` repeats what never reached the target and nothing else."""
    policy = RetryPolicy.only_if_not_sent()
    assert isinstance(decide(policy, broken(Break.UNREACHABLE), ONCE, None, NOON, 0), TryAgain)
    assert isinstance(decide(policy, broken(Break.DISCONNECTED), ONCE, None, NOON, 0), GiveUp)
    assert isinstance(decide(policy, responded(503), ONCE, None, NOON, 0), GiveUp)


@pytest.mark.parametrize("item", ["5xx", "503", "3xx", "unreachable", "timed_out", "interrupted", "disconnected"])
def test_what_retry_on_may_hold(item: str) -> None:
    """Outcomes that may be tried again, statuses, and classes of statuses."""
    assert is_retryable(item)


@pytest.mark.parametrize("item", ["", "2xx", "200", "6xx", "50", "5xxx", "refused", "cancelled", "response", "٥٠٣", "5x3"])
def test_what_retry_on_may_not_hold(item: str) -> None:
    """Success, our own refusals and nonsense can't be retried."""
    assert not is_retryable(item)


@pytest.mark.parametrize("text", ["Mon, 01 Jan 2024 00:00:00 +99999999999999", "Fri, 31 Dec 9999 23:59:59 -2359", "\x00", "1e3"])
def test_a_retry_after_that_can_t_be_reckoned_with_is_none(text: str) -> None:
    """A target's header never keeps an attempt from being settled."""
    assert retry_after(responded(503, retry_after=text), NOON) <= MAX_RETRY_AFTER
