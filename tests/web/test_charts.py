"""What charts count, and where their bars stand."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longcall.core.task import Task
from longcall.web.dashboard.charts import EDGE_NAMES, EDGES, activity, durations
from tests.making import NOON
from tests.web import scenes

ages = st.lists(st.floats(5, 24 * 3600), min_size=1, max_size=30)


def tasks_of(found: list[float], took: float = 2.0) -> list[Task]:
    """Tasks that began so many seconds before noon."""
    starts = [NOON - timedelta(seconds=age) for age in found]
    return [scenes.run(scenes.made(f"t{n}", at), at, scenes.answered(at + timedelta(seconds=took))) for n, at in enumerate(starts)]


@given(ages)
@example([21301.0])  # older than the first of 72 slots of five minutes, and less than six hours old
def test_every_start_and_end_is_counted_once(found: list[float]) -> None:
    """In the slot that its moment lies in; the slots end with the one that is now."""
    tasks = tasks_of([min(age, 23 * 3600) for age in found])
    shown = activity(tasks, NOON)
    assert (shown.total("started"), shown.total("succeeded")) == (len(tasks), len(tasks))
    assert shown.slots[-1].start <= NOON < shown.end
    for slot in shown.slots:
        began = [task.attempts[0].start_time for task in tasks]
        assert slot.started == sum(slot.start <= at < slot.start + shown.width for at in began)


@given(ages)
def test_bars_stay_in_the_picture_and_apart(found: list[float]) -> None:
    """Between 0 and 1, up from the middle or down, none over another."""
    bars = activity([*tasks_of(found), *scenes.many(NOON, 40)], NOON).bars()
    for bar in bars:
        assert 0 <= bar.x < bar.x + bar.width <= 1.000001
        assert -0.000001 <= bar.y < bar.y + bar.height <= 1.000001
        assert bar.y + bar.height <= 0.500001 if bar.kind == "started" else bar.y >= 0.5
    below = sorted((bar.x, bar.y, bar.height) for bar in bars if bar.kind != "started")
    assert all(y + height <= next_y + 1e-9 for (x, y, height), (next_x, next_y, _) in pairwise(below) if x == next_x)


@pytest.mark.parametrize(("age", "width"), [(60, 20), (14 * 60, 20), (16 * 60, 60), (3 * 3600, 300), (20 * 3600, 1800), (9 * 86400, 1800)])
def test_a_chart_is_as_wide_as_what_there_is(age: float, width: float) -> None:
    """Minutes where there are minutes, a day at most."""
    assert activity(tasks_of([age]), NOON).width == timedelta(seconds=width)


def test_nothing_is_an_empty_chart() -> None:
    """No bar, and nothing divided by nothing."""
    assert activity([], NOON).bars() == []
    nothing = durations([])
    assert (nothing.total, nothing.bars(), nothing.ticks(), nothing.median) == (0, [], [], None)


@given(st.lists(st.floats(0.001, 200_000), min_size=1, max_size=40))
def test_a_duration_is_in_the_bucket_that_it_fits(took: list[float]) -> None:
    """All are counted; the bars of what is shown fill the width; half and 95 % are values that occurred."""
    tasks = [task for each in took for task in tasks_of([300_000], each)]
    shown = durations(tasks)
    lengths = sorted(timedelta(seconds=each) for each in took)
    assert shown.total == len(took)
    for number, count in enumerate(shown.counts):
        low, high = (EDGES[number - 1] if number else 0), (EDGES[number] if number < len(EDGES) else float("inf"))
        assert count == sum(low <= each.total_seconds() < high for each in lengths)
    assert sum(count for _, count in shown.named()) == len(took)
    assert max(bar.height for bar in shown.bars()) == 1
    assert all(bar.x >= 0 and bar.x + bar.width <= 1 for bar in shown.bars())
    assert shown.median in lengths
    assert sum(each <= shown.median for each in lengths) * 2 >= len(lengths)
    assert shown.most in lengths


def test_every_edge_has_its_name() -> None:
    """They are read by people."""
    assert len(EDGES) == len(EDGE_NAMES)
    assert list(EDGES) == sorted(EDGES)


def test_slots_begin_at_round_times() -> None:
    """A slot of half an hour begins at the half hour, so bars do not creep while somebody looks."""
    later = NOON + timedelta(seconds=77)
    starts: list[datetime] = [slot.start for slot in activity(tasks_of([20 * 3600]), later).slots]
    assert all(start.minute in {0, 30} and start.second == 0 for start in starts)
