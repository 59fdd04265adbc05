"""What the machine's clock makes."""

import re

from longcall.outbound.clock import SystemClock


def test_ordered_ids_grow_and_fit_a_task_name() -> None:
    """Each is greater than the one before, none comes twice, and all are digits, which any task may be named by."""
    clock = SystemClock()
    made = [clock.new_ordered_id() for _ in range(1000)]
    # Two of one nanosecond would be in any order; this machine's clock is asked a thousand times in more than one.
    assert [each[:-4] for each in made] == sorted(each[:-4] for each in made)
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[0-9]{23}", each) for each in made)
