"""A task's attempts as bars on one axis."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core import lifecycle
from longcall.core.attempt import Break, Broken, Trouble, lost
from longcall.core.retry import RetryPolicy
from longcall.core.task import State, Task
from longcall.web.dashboard.timeline import LEAST, Timeline, timeline
from tests.making import NOON, outcomes, scheduled, spec
from tests.web import scenes
from tests.web.scenes import seconds


def laid_out(task: Task, after: float = 0) -> Timeline:
    """The timeline of a task that has one."""
    found = timeline(task, NOON + seconds(after))
    assert found is not None
    return found


def test_an_attempt_is_waiting_connecting_and_running() -> None:
    """Each as long as it took, one after the other."""
    task = scenes.run(scenes.made("t", NOON), NOON + seconds(1), scenes.answered(NOON + seconds(10), sent=7))
    (row,) = laid_out(task).rows
    assert [(bar.phase, bar.length) for bar in row.bars] == [("waiting", seconds(1)), ("connecting", seconds(2)), ("running", seconds(7))]
    assert (row.end, row.cut, row.bars[0].start) == ("succeeded", None, 0.0)
    assert [bar.start + bar.width for bar in row.bars[:-1]] == pytest.approx([bar.start for bar in row.bars[1:]])
    assert row.bars[-1].start + row.bars[-1].width == pytest.approx(1)


def test_a_cut_call_is_marked_where_it_broke() -> None:
    """An answer is no cut, and neither is what never reached the target."""
    policy = RetryPolicy(max_attempts=3)
    task = scenes.made("t", NOON, retry=policy)
    task = scenes.run(task, NOON, scenes.cut(NOON + seconds(240), 240))
    task = scenes.run(task, NOON + seconds(250), scenes.unreachable(NOON + seconds(251)))
    task = scenes.run(task, NOON + seconds(300), scenes.answered(NOON + seconds(400), 500, sent=99))
    rows = laid_out(task).rows
    assert [row.end for row in rows] == ["failed", "failed", "failed"]
    assert rows[0].cut == pytest.approx(240 / 400)
    assert (rows[1].cut, rows[2].cut) == (None, None)
    assert [bar.phase for bar in rows[1].bars] == ["waiting", "connecting"]


def test_a_lost_call_may_have_run_from_the_start() -> None:
    """Nobody knows when it was sent."""
    task = lifecycle.settle(lifecycle.take(scenes.made("t", NOON), "r-1", NOON), lost(NOON + seconds(90), "r-1"), NOON + seconds(90), 0.5)
    assert [(bar.phase, bar.length) for bar in laid_out(task, 90).rows[0].bars] == [("running", seconds(90))]


def test_what_runs_goes_on_to_now() -> None:
    """And what is to come is a row of its own, with a line at now."""
    running = lifecycle.take(scenes.made("t", NOON), "r-1", NOON)
    (row,) = laid_out(running, 60).rows
    assert (row.end, row.bars[-1].length) == ("running", seconds(60))
    answered = scenes.run(scenes.made("t", NOON), NOON, scenes.answered(NOON + seconds(10), 503))
    waiting = replace(answered, next_attempt_time=NOON + seconds(100))
    shown = laid_out(waiting, 55)
    assert (shown.rows[-1].number, shown.rows[-1].attempt, shown.rows[-1].end) == (2, None, "next")
    assert shown.now == pytest.approx(0.55)


def test_a_wait_that_nobodys_policy_made_is_drawn_shorter() -> None:
    """A task that was put off for a day still shows what it did; the same wait by its policy is shown as it is."""
    later = NOON + timedelta(days=1)
    task = scenes.run(scenes.made("t", NOON, schedule_time=later), later, scenes.answered(later + seconds(100), sent=90))
    shown = laid_out(task)
    (gap,) = shown.gaps
    assert gap.length == timedelta(days=1)
    assert gap.width < 0.2
    assert shown.rows[0].bars[-1].width > 0.7
    patient = RetryPolicy(min_backoff=timedelta(days=1), max_backoff=timedelta(days=1))
    retried = scenes.run(scenes.made("t", NOON, retry=patient), NOON, scenes.answered(NOON + seconds(100), 503, sent=90))
    assert not laid_out(retried).gaps


def test_nothing_made_and_nothing_to_come_is_no_timeline() -> None:
    """As of what was no valid task."""
    assert timeline(scenes.invalid(NOON), NOON) is None


def test_attempts_that_the_record_left_out_are_counted() -> None:
    """It keeps the first and the last 49; the wait for those in between is nobody's."""
    task = scenes.made("t", NOON, retry=RetryPolicy(max_attempts=200, min_backoff=seconds(1), max_backoff=seconds(1)))
    for number in range(60):
        at = NOON + seconds(number * 10)
        task = scenes.run(task, at, scenes.answered(at + seconds(5), 503))
    rows = laid_out(task, 600).rows
    assert (rows[0].number, rows[1].number, rows[1].omitted, rows[2].omitted) == (1, 12, 10, 0)
    assert rows[1].bars[0].phase != "waiting"


@given(st.lists(st.tuples(st.floats(0, 90_000), st.floats(0, 90_000), outcomes), max_size=8), st.floats(0, 1000))
def test_every_history_fits_the_axis(history: list[tuple[float, float, object]], after: float) -> None:
    """Whatever ended however: bars lie between 0 and 1, in their order, and none is too short to be seen."""
    task, at = scheduled("t", spec(retry=RetryPolicy(max_attempts=99))), NOON
    for wait, took, outcome in history:
        if task.state is State.SUCCEEDED:
            break
        if task.state.ended:
            task = lifecycle.retry(task, at)
        at += seconds(wait)
        ended = replace(outcome, end_time=at + seconds(took), sent_time=at + seconds(took / 2))  # type: ignore[type-var] # any outcome is a dataclass
        task = lifecycle.settle(lifecycle.take(task, "r-1", at), ended, at + seconds(took), 0.5)  # type: ignore[arg-type] # as above
        at += seconds(took)
    shown = timeline(task, at + seconds(after))
    assert shown is not None
    for row in shown.rows:
        assert row.bars
        for bar in row.bars:
            assert bar.width >= LEAST
            assert -1e-9 <= bar.start <= bar.start + bar.width <= 1 + 1e-9
        assert [bar.start for bar in row.bars] == sorted(bar.start for bar in row.bars)
        assert row.cut is None or 0 <= row.cut <= 1


def test_a_refused_call_is_no_cut() -> None:
    """It never went out."""
    refused = Broken(Break.REFUSED, Trouble("FORBIDDEN_TARGET", "no"), NOON)
    (row,) = laid_out(scenes.run(scenes.made("t", NOON), NOON, refused)).rows
    assert (row.cut, row.end) == (None, "failed")
