"""Thousands of calls fail in one moment: how many come back to the target each second, by the kind of jitter.

    .venv/bin/python bench/storm.py [--calls 10000] [--capacity 100] [--plot docs/images/storm.svg] [--json FILE]

A simulation on the very functions that decide on retries (core/retry.py), with the default policy and a target that answers so many a
second and 503 to what is over it: once by itself, once behind a queue with Cloud Tasks' quota of 500 dispatches a second. Then the same is
done for real, smaller and faster, through `longcall up`, and compared with a simulation of that size. How fast `up` is, and how late, is
measured before that, by waves of retries that the target refuses whole.
"""

import heapq
import random  # noqa: TID251 — a bench draws what it asks for
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from calling import submit, wait_until
from plots import small_multiples
from processes import Running, longcall, target
from store_file import ended
from table import Figure, Table, arguments

from longcall.core.attempt import Break, Broken, Outcome, Responded, Response, Trouble
from longcall.core.retry import Budget, Jitter, RetryPolicy, Succeed, TryAgain, decide
from longcall.core.text import duration_text

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
QUOTA = 500.0  # dispatches a second of a Cloud Tasks queue
BUCKET = 0.1  # seconds' worth that the target takes at once, as silent.py has it
SEED = 7
FULL_SIZE = (10_000, 100.0)
POLICY = RetryPolicy()


@dataclass(frozen=True)
class Storm:
    """`calls` fail at once. `scale` makes every wait so much shorter.

    `pace` is how many are begun a second, None for all at once; `lag` how many seconds late the first one is.
    """

    calls: int
    capacity: float
    jitter: Jitter
    scale: float = 1.0
    pace: float | None = None
    lag: float = 0.0

    @property
    def policy(self) -> RetryPolicy:
        """The default policy, with this jitter, in this time."""
        low, high = POLICY.min_backoff / self.scale, POLICY.max_backoff / self.scale
        return replace(POLICY, jitter=self.jitter, min_backoff=low, max_backoff=high)


@dataclass(frozen=True)
class Course:
    """When requests came to the target, in seconds from the failure, and how many of the calls had failed in the end."""

    arrivals: Sequence[float]
    failed: int

    def peak(self, width: float) -> float:
        """The most arrivals a second, over intervals of so many seconds."""
        return max(Counter(int(each / width) for each in self.arrivals).values(), default=0) / width

    def a_second(self, width: float) -> tuple[list[float], list[float]]:
        """Moments and arrivals a second, for a plot."""
        found = Counter(int(each / width) for each in self.arrivals)
        moments = range(max(found, default=0) + 2)
        return [each * width for each in moments], [found[each] / width for each in moments]


class Target:
    """Takes so many a second."""

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self._left = self._since = 0.0

    def answers(self, at: float) -> bool:
        """Whether a request that comes now is answered; if not, it gets 503."""
        self._left = min(self._capacity * BUCKET, self._left + (at - self._since) * self._capacity)
        self._since = at
        if self._left < 1:
            return False
        self._left -= 1
        return True


def simulate(storm: Storm, seed: int = SEED) -> Course:
    """Let every call fail at 0 s and come back as its policy says. What is due at one moment comes in the order of its numbers."""
    draw, serving = random.Random(seed), Target(storm.capacity)  # noqa: S311 — the same chances each time
    due: list[tuple[float, int, int]] = []
    gap, free, arrivals, failed = 1 / storm.pace if storm.pace else 0.0, 0.0, list[float](), 0
    for number in range(storm.calls):
        failed += not _comes_back(storm.policy, _broken(), number * gap, (number, 1), draw, due)
    while due:
        moment, number, tries = heapq.heappop(due)
        at = max(moment + storm.lag, free)
        free = at + gap
        arrivals.append(at)
        if not serving.answers(at):
            failed += not _comes_back(storm.policy, _busy(), at, (number, tries + 1), draw, due)
    return Course(arrivals, failed)


def _comes_back(
    policy: RetryPolicy, outcome: Outcome, at: float, who: tuple[int, int], draw: random.Random, due: list[tuple[float, int, int]]
) -> bool:
    now, (number, tries) = START + timedelta(seconds=at), who
    match decide(policy, outcome, Budget(START, tries), None, now, draw.random()):
        case TryAgain(moment):
            heapq.heappush(due, ((moment - START).total_seconds(), number, tries))
            return True
        case Succeed():
            raise AssertionError("nothing of this succeeded")
        case _:
            return False


def _broken() -> Outcome:
    return Broken(Break.DISCONNECTED, Trouble("RESET", "everything went down"), START)


def _busy() -> Outcome:
    return Responded(Response(503, {}, 0, "", b""), START)


async def real(silent: Running, storm: Storm) -> Course:
    """Do it: hold all calls at the target, let them fail at once, and see them come back."""
    policy = storm.policy
    retry = {"jitter": storm.jitter.value, "minBackoff": duration_text(policy.min_backoff), "maxBackoff": duration_text(policy.max_backoff)}
    ports = ("--port", "0", "--grpc-port", "0", "--rest-port", "0")
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as name:
        data = Path(name, "data")
        async with longcall(Path(name), "up", *ports, "--data", str(data), CREATE_RATE="1000000") as up:
            await silent.ask("hold")
            names = [f"call-{number}" for number in range(storm.calls)]
            await submit(up.ready["api"], silent.ready["url"], names, retry=retry)
            assert await wait_until(lambda: _held(silent, storm.calls), 60), "not all calls were running"  # noqa: S101 — or it would lie
            failed_at = (await silent.ask(f"fail {storm.capacity}"))["first"]
            await wait_until(lambda: _ended(data / "longcall.db", storm.calls), 300, pause=0.2)
            arrivals = [at - failed_at for _, at in await silent.ask("seen")]
            return Course(sorted(arrivals), ended(data / "longcall.db", "FAILED"))


async def _held(silent: Running, calls: int) -> bool:
    return bool((await silent.ask("count"))["held"] >= calls)


async def _ended(file: Path, calls: int) -> bool:
    return ended(file, "FAILED") + ended(file, "SUCCEEDED") >= calls


def apart(one: Course, other: Course) -> float:
    """The largest difference between the shares of arrivals that had come by any moment, in %."""
    points = sorted([(at, 1 / len(one.arrivals)) for at in one.arrivals] + [(at, -1 / len(other.arrivals)) for at in other.arrivals])
    share = most = 0.0
    for _, step in points:
        share += step
        most = max(most, abs(share))
    return most * 100


def simulated(table: Table, calls: int, capacity: float, to: Path | None) -> None:
    """The simulations at full size, as lines and as a picture."""
    courses = {}
    for jitter in Jitter:
        alone, behind = (simulate(Storm(calls, capacity, jitter, pace=pace)) for pace in (None, QUOTA))
        courses[jitter] = alone
        table.row(f"jitter {jitter}: most arrivals in a second", _count(alone.peak(1)), _count(behind.peak(1)))
        table.row(f"jitter {jitter}: arrivals in all", _count(len(alone.arrivals)), _count(len(behind.arrivals)))
        table.row(f"jitter {jitter}: FAILED after {POLICY.max_attempts} attempts", _count(alone.failed), _count(behind.failed))
        table.row(f"jitter {jitter}: last arrival", Figure(max(alone.arrivals), "s"), Figure(max(behind.arrivals), "s"))
    table.note(
        f"Simulated: {calls:,} calls fail at 0 s, the target takes {capacity:g} a second. In the column of the baseline the same behind a "
        f"queue that dispatches {QUOTA:g} a second. Chance is seeded: the figures are the same each time."
    )
    if to is not None:
        panels = {f"jitter: {jitter}": course.a_second(1) for jitter, course in courses.items()}
        small_multiples(to, panels, ("seconds after all calls failed", "arrivals a second"), (capacity, "what the target takes"))


def _count(value: float) -> Figure:
    return Figure(value, "")


async def calibrated(silent: Running, calls: int, scale: float) -> tuple[float, float]:
    """How many `up` begins a second, and how late the first is: of the two first waves of retries, all of which the target refuses."""
    wave = Storm(calls, 0.001, Jitter.NONE, scale)
    came = (await real(silent, wave)).arrivals
    paces = [_pace(part) for part in (came[:calls], came[calls : 2 * calls])]
    return sum(paces) / 2, max(0.0, came[0] - wave.policy.min_backoff.total_seconds())


def _pace(came: Sequence[float]) -> float:
    """Arrivals a second, the tenth at each end left out: one that was late says nothing of the others."""
    edge = len(came) // 10
    return (len(came) - 2 * edge - 1) / max(came[-1 - edge] - came[edge], 0.001)


async def compared(table: Table, calls: int, capacity: float, scale: float) -> None:
    """The real runs beside simulations of their size."""
    width = POLICY.min_backoff.total_seconds() / scale / 5
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with target(Path(folder)) as silent:
            pace, lag = await calibrated(silent, calls, scale)
            for jitter in Jitter:
                storm = Storm(calls, capacity, jitter, scale, pace, lag)
                did, said = await real(silent, storm), simulate(storm)
                what = f"for real, {calls:,} calls, jitter {jitter}"
                table.row(f"{what}: most arrivals a second", _count(did.peak(width)), f"{said.peak(width):,.0f} simulated")
                table.row(f"{what}: arrivals in all", _count(len(did.arrivals)), f"{len(said.arrivals):,} simulated")
                table.row(f"{what}: FAILED", _count(did.failed), f"{said.failed:,} simulated")
                table.row(f"{what}: furthest apart", Figure(apart(did, said), "% of all arrivals"))
    table.note(
        f"For real: through longcall up, with every wait {scale:g} times shorter and a target that takes {capacity:g} a second, arrivals "
        f"counted over {width:g} s. It began {pace:,.0f} calls a second, {lag:.2g} s late, and so does the simulation beside it. Furthest "
        "apart: the largest difference between the shares of arrivals that had come, really and simulated."
    )


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--calls", type=int, default=FULL_SIZE[0])
    parser.add_argument("--capacity", type=float, default=FULL_SIZE[1], help="what the target takes a second")
    parser.add_argument("--real", type=int, default=300, metavar="CALLS", help="size of the real run")
    parser.add_argument("--scale", type=float, default=10, help="how much shorter waits are in the real run")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the simulation there, as SVG")
    chosen = parser.parse_args()
    if chosen.smallest:
        chosen.calls, chosen.capacity, chosen.real, chosen.scale = 500, 5.0, 20, 400
    result = Table("A storm: all calls fail at once", uses=("aiohttp",))
    simulated(result, chosen.calls, chosen.capacity, chosen.plot)
    took_at_once = chosen.capacity * chosen.real / chosen.calls * chosen.scale
    uvloop.run(compared(result, chosen.real, took_at_once, chosen.scale))
    result.show(chosen)
