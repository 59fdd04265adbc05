"""The real engine under storms. In CI at least 100,000 steps; on a laptop a few thousand."""

import asyncio
import functools
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from longcall.core.attempt import Break, Broken, Outcome, Trouble
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.task import Callback
from longcall.testing import ok, settled
from tests.conftest import IN_CI
from tests.engine.storm import OPEN_AT_ONCE, World
from tests.making import spec

POLICY = RetryPolicy(max_attempts=3, min_backoff=timedelta(seconds=5), max_backoff=timedelta(seconds=20), jitter=Jitter.FULL)
IDS = ("a", "b")
MOST_RUNNERS = 3
picks = st.integers(0, 30)
T = TypeVar("T")


def let(waiting: "asyncio.Future[T]", result: T) -> None:
    """Answer what waits, unless it is gone."""
    if not waiting.done():
        waiting.set_result(result)


class Storm(RuleBasedStateMachine):
    """Two tasks, up to three runners, and bad luck between any two steps."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World()
        self.run(self.world.start_runner())
        for task_id in IDS:
            self.submit(task_id)

    def run(self, work: Awaitable[Any]) -> None:
        """Do it, and let everything that can go on go on."""

        async def both() -> None:
            await work
            await settled(8)

        Storm.steps += 1
        self.runner.run(both())

    def submit(self, task_id: str) -> None:
        """The API creates a task; the same again is the same."""
        asked = spec(retry=POLICY, callback=Callback("http://127.0.0.1:9/hook"))
        self.run(self.later(lambda: self.world.submit(task_id, asked)))

    async def later(self, work: Any) -> None:  # noqa: ANN401 — anything that can be called
        """Begin something inside the loop."""
        work()

    def alive(self) -> list[Any]:
        """The runners that live."""
        return [runner for runner in self.world.runners if runner.alive]

    @precondition(lambda self: self.world.gates)
    @rule(pick=picks, how=st.sampled_from(["go", "unseen", "away"]))
    def step(self, pick: int, how: str) -> None:
        """One step of one process: done, done unseen, or not done."""
        gate = self.world.gates[pick % len(self.world.gates)]
        self.run(self.later(lambda: let(gate.opened, "away" if how == "unseen" and not gate.write else how)))

    @precondition(lambda self: self.world.gates)
    @rule(some=st.lists(picks, min_size=1, max_size=8))
    def go_on(self, some: list[int]) -> None:
        """Several steps without bad luck, of whichever process."""
        for pick in some:
            if self.world.gates:
                opened = self.world.gates[pick % len(self.world.gates)].opened
                self.run(self.later(functools.partial(let, opened, "go")))

    @precondition(lambda self: len(self.world.gates) < OPEN_AT_ONCE and self.alive() and self.world.waiting())
    @rule(message=picks, runner=picks)
    def deliver(self, message: int, runner: int) -> None:
        """The queue delivers any message there is: late, early, or once more."""
        entries = self.world.waiting()
        self.run(self.later(lambda: self.world.deliver(entries[message % len(entries)], self.alive()[runner % len(self.alive())])))

    @precondition(lambda self: self.world.lines)
    @rule(pick=picks, status=st.sampled_from([200, 503, 0]))
    def end_call(self, pick: int, status: int) -> None:
        """A target answers, or its connection breaks."""
        line, now = self.world.lines[pick % len(self.world.lines)], self.world.clock.now()
        outcome: Outcome = ok(now, status) if status else Broken(Break.DISCONNECTED, Trouble("RESET", "it broke"), now, now)
        self.run(self.later(lambda: let(line.ends, outcome)))

    @rule(seconds=st.sampled_from([0.2, 3, 9, 20, 40]))
    def pass_time(self, seconds: float) -> None:
        """Leases may lapse while their runners live."""
        self.run(self.world.pass_time(seconds))

    @rule(pick=picks, what=st.sampled_from(["beat", "beat", "die", "start"]))
    def process(self, pick: int, what: str) -> None:
        """A runner writes its sign of life and looks for cancels, or dies wherever it is; another one starts."""
        alive = self.alive()
        if what == "start" and len(alive) < MOST_RUNNERS:
            self.run(self.world.start_runner())
        elif alive and what != "start":
            runner = alive[pick % len(alive)]
            self.run(runner.die() if what == "die" else self.world.beat(runner))

    @rule(task_id=st.sampled_from(IDS), pick=picks, what=st.sampled_from(["cancel", "retry", "die"]))
    def api(self, task_id: str, pick: int, what: str) -> None:
        """Somebody wants no more of a task, or wants it run again; or the process of such a call dies half way."""
        if what == "die" and self.world.apis:
            self.run(self.world.apis.pop(pick % len(self.world.apis)).die())
        elif what != "die":
            self.run(self.later(lambda: getattr(self.world, what)(task_id)))

    def teardown(self) -> None:
        """When the storm is over everything ends, and every end is told."""
        try:
            self.run(self.world.calm_down())
        finally:
            self.run(self.world.close())
            self.runner.close()


@pytest.mark.timeout(900)
def test_no_storm_loses_a_task() -> None:
    """Nothing lost, nothing stuck, no end changed but by :retry, no two calls at once without a lapse, every end told."""
    Storm.steps = 0
    examples, count = (1800, 60) if IN_CI else (60, 50)
    run_state_machine_as_test(Storm, settings=settings(max_examples=examples, stateful_step_count=count, deadline=None))
    assert Storm.steps >= (100_000 if IN_CI else 1_000)
