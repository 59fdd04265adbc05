from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from longcall.core import lifecycle, wire
from longcall.core.attempt import Break, Outcome
from longcall.core.lifecycle import LEADS_TO, Event, WrongEventError
from longcall.core.retry import RetryPolicy
from longcall.core.task import State, Task, TaskSpec, Unreadable
from tests.making import NOON, broken, chances, outcomes, responded, running, scheduled, spec, specs


class Lifecycle(RuleBasedStateMachine):
    """One task through any history its table allows."""

    task: Task
    before: Task

    @initialize(asked=specs)
    def make(self, asked: TaskSpec) -> None:
        """A task begins."""
        self.task = self.before = scheduled(asked=asked)
        self.now = NOON

    @rule(passed=st.timedeltas(timedelta(), timedelta(days=3)))
    def time_passes(self, passed: timedelta) -> None:
        """Time never goes back."""
        self.now += passed

    @precondition(lambda self: self.task.state in {State.SCHEDULED, State.WAITING})
    @rule(runner=st.sampled_from(["r-1", "r-2"]))
    def take(self, runner: str) -> None:
        """A runner takes it, or ends it when its time is over."""
        over = lifecycle.expired(self.task, self.now)
        self._becomes(lifecycle.expire(self.task, self.now) if over else lifecycle.take(self.task, runner, self.now))

    @precondition(lambda self: self.task.state is State.RUNNING)
    @rule(outcome=outcomes, chance=chances)
    def settle(self, outcome: Outcome, chance: float) -> None:
        """Its attempt ends somehow."""
        self._becomes(lifecycle.settle(self.task, outcome, self.now, chance))
        assert self.task.state is not State.SUCCEEDED or outcome.ok

    @precondition(lambda self: self.task.state is not State.SUCCEEDED and self.task.state is not State.FAILED)
    @rule()
    def cancel(self) -> None:
        """Its cancel is asked for: what waits ends, what runs is only asked to."""
        if self.task.state is State.CANCELLED or self.task.cancel_request_time is not None:
            return
        was_running = self.task.state is State.RUNNING
        self._becomes(lifecycle.cancel(self.task, self.now))
        assert self.task.state is (State.RUNNING if was_running else State.CANCELLED)

    @precondition(lambda self: self.task.state not in {State.RUNNING, State.SUCCEEDED})
    @rule()
    def retry(self) -> None:
        """It is run again, or now: due at once, with a fresh budget if it had ended."""
        ended = self.task.state.ended
        self._becomes(lifecycle.retry(self.task, self.now))
        assert self.task.next_attempt_time == self.now
        assert not ended or (self.task.budget.tries, self.task.budget.drains, self.task.budget.start) == (0, 0, self.now)

    @precondition(lambda self: self.task.state.ended)
    @rule(event=st.sampled_from(["take", "settle", "expire"]), outcome=outcomes)
    def nothing_moves_an_end(self, event: str, outcome: Outcome) -> None:
        """An end is an end."""
        with pytest.raises(WrongEventError):
            _happen(self.task, event, outcome)

    def _becomes(self, after: Task) -> None:
        self.before, self.task = self.task, after

    @invariant()
    def history_only_grows(self) -> None:
        """Each write is the next version; attempt numbers never repeat; at most fifty are kept, the first among them."""
        numbers = [attempt.number for attempt in self.task.attempts]
        assert self.task.version in {self.before.version, self.before.version + 1}
        assert numbers == sorted(set(numbers))
        assert len(numbers) <= 50
        assert not numbers or (numbers[0], numbers[-1]) == (1, self.task.attempt_count)

    @invariant()
    def fields_fit_the_state(self) -> None:
        """Who owns it, when it goes on and when it ended are known exactly where they have a meaning."""
        state = self.task.state
        assert (self.task.owner is not None) == (state is State.RUNNING)
        assert (self.task.next_attempt_time is not None) == (state in {State.SCHEDULED, State.WAITING})
        assert (self.task.finish_time is not None) == state.ended
        assert (self.task.failure is not None) == (state is State.FAILED)

    @invariant()
    def it_can_be_written_down(self) -> None:
        """Any record comes back from JSON as it went."""
        assert wire.task_from_json(wire.loads(wire.dumps(wire.task_to_json(self.task)))) == self.task


TestLifecycle = Lifecycle.TestCase


def _happen(task: Task, event: str, outcome: Outcome) -> Task:
    match event:
        case "take":
            return lifecycle.take(task, "r-1", NOON)
        case "settle":
            return lifecycle.settle(task, outcome, NOON, 0)
        case "cancel":
            return lifecycle.cancel(task, NOON)
        case "retry":
            return lifecycle.retry(task, NOON)
        case _:
            return lifecycle.expire(task, NOON)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_the_table_is_all_there_is(state: State, event: Event) -> None:
    """A pair that the table does not have is an error, whatever the function."""
    task = Task(**{name: getattr(running(), name) for name in Task.__slots__} | {"state": state})
    if (state, event) in LEADS_TO:
        assert _happen(task, event.value, responded()).state in LEADS_TO[state, event]
    else:
        with pytest.raises(WrongEventError):
            _happen(task, event.value, responded())


def test_every_state_but_the_first_can_be_reached() -> None:
    """The table leads everywhere, and back to SCHEDULED from nowhere else."""
    assert {after for ends in LEADS_TO.values() for after in ends} == set(State)
    assert [before for (before, _), ends in LEADS_TO.items() if State.SCHEDULED in ends] == [State.SCHEDULED]


def test_success_is_2xx_alone() -> None:
    """200 to 299 succeed; a redirect and a client error do not."""
    states = {status: lifecycle.settle(running(), responded(status), NOON, 0).state for status in (200, 204, 299, 302, 404)}
    assert states == {200: State.SUCCEEDED, 204: State.SUCCEEDED, 299: State.SUCCEEDED, 302: State.FAILED, 404: State.FAILED}


def test_a_failure_says_why_and_whether_it_may_have_run() -> None:
    """The caller learns the reason, a sentence, and whether sending again is safe."""
    never_sent = lifecycle.settle(running(asked=spec(retry=RetryPolicy(max_attempts=1))), broken(Break.UNREACHABLE), NOON, 0).failure
    assert never_sent is not None
    assert (never_sent.reason, never_sent.may_have_run) == ("unreachable", False)
    assert "its only attempt is used" in never_sent.message


def test_a_cancel_request_wins_over_everything_but_success() -> None:
    """What ended 2xx although its cancel was asked for has succeeded; any other outcome then ends CANCELLED, never WAITING."""
    asked = Task(**{name: getattr(running(), name) for name in Task.__slots__} | {"cancel_request_time": NOON})
    assert lifecycle.settle(asked, responded(200), NOON, 0).state is State.SUCCEEDED
    assert lifecycle.settle(asked, responded(503), NOON, 0).state is State.CANCELLED
    assert lifecycle.settle(asked, broken(Break.INTERRUPTED), NOON, 0).state is State.CANCELLED


def test_what_can_t_be_read_is_kept_as_failed() -> None:
    """Something that is no task ends FAILED `invalid` at once, with its bytes."""
    task = lifecycle.reject("odd", Unreadable(b"\xff{", "not JSON"), queue="q", trace="t", now=NOON)
    assert (task.state, task.failure and task.failure.reason) == (State.FAILED, "invalid")
    assert wire.task_from_json(wire.task_to_json(task)) == task


def test_a_task_whose_time_is_over_begins_no_attempt() -> None:
    """A queue that was paused past taskTimeout leads to a failure that says so."""
    task = scheduled(asked=spec(task_timeout=timedelta(minutes=1)))
    assert not lifecycle.expired(task, NOON + timedelta(seconds=59))
    assert lifecycle.expired(task, NOON + timedelta(minutes=1))
    failure = lifecycle.expire(task, NOON + timedelta(minutes=1)).failure
    assert failure is not None
    assert (failure.reason, failure.may_have_run) == ("task_timeout", False)
