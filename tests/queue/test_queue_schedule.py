from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from longcall.queue.schedule import Schedule

_START = datetime(2026, 1, 1, tzinfo=UTC)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 20), st.integers(0, 100)),
        st.tuples(st.just("remove"), st.integers(1, 20), st.just(0)),
        st.tuples(st.just("take"), st.integers(1, 5), st.integers(0, 100)),
    ),
    max_size=200,
)


def _at(second: int) -> datetime:
    return _START + timedelta(seconds=second)


@given(_STEPS)
@settings(deadline=None)
def test_it_behaves_as_a_sorted_table(steps: Sequence[tuple[str, int, int]]) -> None:
    """Added, moved, removed and taken tasks are at each step those of a plain table sorted by time."""
    schedule, table = Schedule(), dict[int, datetime]()
    for verb, number, second in steps:
        if verb == "add":
            schedule.add(number, _at(second))
            table[number] = _at(second)
        elif verb == "remove":
            schedule.remove(number)
            table.pop(number, None)
        else:
            due = sorted((time, waiting) for waiting, time in table.items() if time <= _at(second))[:number]
            assert schedule.take_due(_at(second), number) == [waiting for _, waiting in due]
            for _, waiting in due:
                del table[waiting]
        assert len(schedule) == len(table)
        assert schedule.next_due() == min(table.values(), default=None)


def test_removed_tasks_do_not_pile_up() -> None:
    """A hundred thousand tasks scheduled a month ahead and removed leave next to nothing behind."""
    schedule = Schedule()
    for number in range(100_000):
        schedule.add(number, _at(number))
        schedule.remove(number)
    assert len(schedule._heap) < 3000  # noqa: SLF001 — memory shows nowhere else
