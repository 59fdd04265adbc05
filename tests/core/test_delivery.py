from datetime import datetime, timedelta

import pytest

from longcall.core import delivery, lifecycle
from longcall.core.attempt import Break
from longcall.core.delivery import Expire, HandPut, Later, Lose, Me, Namesake, Nothing, Owner, Take, Visit, compare, judge
from longcall.core.retry import RetryPolicy
from longcall.core.task import State, Task, Unreadable
from tests.making import NOON, QUEUE, broken, responded, running, scheduled, spec

ME = Me("r-1", holds=False, lease_good=True, may_declare_lost=True)
HOLDING = Me("r-1", holds=True, lease_good=True, may_declare_lost=True)
YOUNG = Me("r-1", holds=False, lease_good=True, may_declare_lost=False)
LAPSED = Me("r-1", holds=False, lease_good=False, may_declare_lost=False)
MINUTE = timedelta(minutes=1)
SILENT = Owner.SILENT


def visit(task: Task, version: int | None = None, at: datetime = NOON) -> Visit:
    """A message about this very record."""
    return Visit(task.id, task.create_time, task.version if version is None else version, at)


def waiting(wait: timedelta = 10 * MINUTE) -> Task:
    """A task between two attempts, the next one later."""
    policy = RetryPolicy(min_backoff=wait, max_backoff=wait, jitter=RetryPolicy().jitter.NONE)
    return lifecycle.settle(running(asked=spec(retry=policy)), broken(Break.UNREACHABLE), NOON, 0)


def test_a_scheduled_task_is_taken() -> None:
    """The first message leads to the first attempt."""
    assert judge(scheduled(), visit(scheduled()), ME, owner=SILENT, now=NOON) == Take()


def test_the_message_of_this_very_version_makes_it_due() -> None:
    """[due] Whatever the clock says: a runner whose clock is behind must not drop the only message there is."""
    task = waiting()
    assert judge(task, visit(task), ME, owner=SILENT, now=NOON) == Take()


def test_another_message_does_not_make_it_due() -> None:
    """An older message coming again finds a task that is not due, and its own message is in the queue."""
    task = waiting()
    assert isinstance(judge(task, visit(task, version=1), ME, owner=SILENT, now=NOON), Nothing)
    assert judge(task, visit(task, version=1), ME, owner=SILENT, now=NOON + 10 * MINUTE) == Take()


def test_a_message_ahead_of_its_record_comes_again_for_ten_minutes() -> None:
    """[ahead] The version may be about to be written; after ten minutes it never was, which is an error in the log."""
    task = waiting()
    ahead = visit(task, version=task.version + 1)
    assert isinstance(judge(task, ahead, ME, owner=SILENT, now=NOON + 9 * MINUTE), Later)
    after = judge(task, ahead, ME, owner=SILENT, now=NOON + 10 * MINUTE)
    assert isinstance(after, Nothing)
    assert after.alarming


def test_a_message_ahead_of_a_running_record_comes_again_without_end() -> None:
    """Its owner may still be waiting to write that version."""
    task = running()
    later = judge(task, visit(task, version=3), HOLDING, owner=SILENT, now=NOON + 24 * 60 * MINUTE)
    assert isinstance(later, Later)
    assert later.soon, "worth a moment's wait: the queue would come again only in a second"


def test_a_running_task_of_a_live_owner_is_left_alone() -> None:
    """Held here, or by another runner with a lease: nothing to do."""
    task, other = running(), running(runner="r-2")
    assert isinstance(judge(task, visit(task), HOLDING, owner=SILENT, now=NOON), Nothing)
    assert isinstance(judge(other, visit(other), ME, owner=Owner.ALIVE, now=NOON), Nothing)


@pytest.mark.parametrize("me", [YOUNG, LAPSED])
def test_a_running_task_without_a_live_owner_is_settled_as_lost(me: Me) -> None:
    """[own-lease] By a runner that may say so; any other has the message come again."""
    task = running(runner="r-2")
    assert judge(task, visit(task), ME, owner=SILENT, now=NOON) == Lose()
    assert isinstance(judge(task, visit(task), me, owner=SILENT, now=NOON), Later)


def test_what_a_runner_left_that_ended_its_lease_itself_is_settled_at_once() -> None:
    """No store that was away can make it look so: a young runner may, one without a lease may not."""
    task = running(runner="r-2")
    assert judge(task, visit(task), YOUNG, owner=Owner.ENDED, now=NOON) == Lose()
    assert isinstance(judge(task, visit(task), LAPSED, owner=Owner.ENDED, now=NOON), Later)


def test_a_running_task_of_mine_that_i_do_not_hold_is_lost() -> None:
    """A safety net: no history is known that leads there."""
    assert judge(running(), visit(running()), ME, owner=SILENT, now=NOON) == Lose()


def test_an_attempt_far_past_its_limit_is_lost_even_with_a_live_owner() -> None:
    """A safety net: 60 s past its limit no live runner still holds it."""
    task = running(runner="r-2", asked=spec(attempt_timeout=MINUTE))
    assert isinstance(judge(task, visit(task), ME, owner=Owner.ALIVE, now=NOON + MINUTE * 2 - timedelta(seconds=1)), Nothing)
    assert judge(task, visit(task), ME, owner=Owner.ALIVE, now=NOON + MINUTE * 2) == Lose()


def test_a_runner_without_a_lease_takes_nothing() -> None:
    """[own-lease] Its message comes again, to a runner that has one."""
    assert isinstance(judge(scheduled(), visit(scheduled()), LAPSED, owner=SILENT, now=NOON), Later)


def test_a_task_whose_time_is_over_ends() -> None:
    """taskTimeout counts also while the queue is paused."""
    task = scheduled(asked=spec(task_timeout=MINUTE))
    assert judge(task, visit(task), ME, owner=SILENT, now=NOON + MINUTE) == Expire()


def test_an_ended_task_stays_ended() -> None:
    """Any message about it is done."""
    task = lifecycle.settle(running(), responded(), NOON, 0)
    assert task.state is State.SUCCEEDED
    assert isinstance(judge(task, visit(task), ME, owner=SILENT, now=NOON), Nothing)


def test_a_message_of_an_earlier_life_of_the_id_does_nothing() -> None:
    """An id that was forgotten and used again is another task."""
    task = scheduled(now=NOON + MINUTE)
    assert isinstance(judge(task, visit(scheduled()), ME, owner=SILENT, now=NOON), Nothing)


def test_a_name_in_use_tells_redeliveries_from_new_tasks() -> None:
    """By hand: the same again, another task under a used name, and a new task an hour after the end."""
    ended = lifecycle.settle(running(), responded(), NOON, 0)

    def put(minutes: int, url: str = "http://127.0.0.1:9/train") -> HandPut:
        return HandPut("train", QUEUE, NOON + minutes * MINUTE, spec(url))

    assert compare(put(0), running()) is Namesake.AGAIN
    assert compare(put(59), ended) is Namesake.AGAIN
    assert compare(put(0, "http://other/"), ended) is Namesake.DIFFERS
    assert compare(put(60), ended) is Namesake.REUSED
    assert compare(put(60, "http://other/"), ended) is Namesake.REUSED


def test_unreadable_tasks_are_compared_by_their_bytes() -> None:
    """The same broken body again is the same task."""
    kept = lifecycle.reject("odd", Unreadable(b"{", "not JSON"), queue=QUEUE, trace="t", now=NOON)
    assert compare(HandPut("odd", QUEUE, NOON, Unreadable(b"{", "not JSON")), kept) is Namesake.AGAIN
    assert compare(HandPut("odd", QUEUE, NOON, Unreadable(b"[", "not JSON")), kept) is Namesake.DIFFERS
    assert compare(HandPut("odd", QUEUE, NOON, spec()), kept) is Namesake.DIFFERS


def test_overdue_counts_what_is_left_of_the_task_s_time() -> None:
    """The attempt's limit is the smaller of its own and what is left of taskTimeout."""
    task = running(asked=spec(attempt_timeout=60 * MINUTE, task_timeout=MINUTE))
    assert not delivery.overdue(task, NOON + MINUTE)
    assert delivery.overdue(task, NOON + 2 * MINUTE)
