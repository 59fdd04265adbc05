"""A runner is killed with its calls running, half of them held and half detached: how long until all are running again, and what was lost.

    .venv/bin/python bench/recovery.py [--calls 1000] [--after 5 25 45] [--times 3] [--json FILE]

First two runners over one queue and one SQLite file: one has all the calls and is killed so many seconds after the first of them began, the
other lives. Where in the minute between two looks the kill falls decides how long it takes. Then `longcall up`, killed and started again at
once. The baseline is a relay as people write it first (plain.py), killed too.
"""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop
from calling import post, submit, wait_until
from processes import HERE, Running, longcall, queue, runner, started, target
from store_file import ended, histories, last_beat, owners
from table import Figure, Table, arguments, at_most, median_of

sys.path.insert(0, str(Path(__file__).parents[1]))  # what stands in front of several runners lies with the tests

from longcall.engine.lease import GOOD_FOR
from tests.end_to_end.fleet import Entrance

STEADY = 40.0  # seconds after its start, a runner may declare another lost
LIMIT = 100.0
PATIENCE = 150.0
ENOUGH_CALLS = 1.2  # a tenth of the room is kept for callbacks


@dataclass(frozen=True)
class Found:
    """What came of one kill. Times are seconds from the kill; `early` were made again while the owner had its lease, where that counts."""

    first: float
    last: float
    early: int | None
    doubled: int
    lost: int


def room(calls: int) -> dict[str, str]:
    """Settings for so many calls, half of them held."""
    return {"MAX_CALLS": str(int(calls * ENOUGH_CALLS) + 10), "HOLD_SLOTS": str(calls // 2), "WHEN_FULL": "detach"}


async def two_runners(silent: Running, calls: int, after: float) -> Found:
    """Kill one of two."""
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as name:
        folder, how = Path(name), room(calls)
        async with Entrance().listening() as entrance, queue(folder, entrance.url) as delivering:  # noqa: SIM117 — one line would be too long
            async with runner(folder, delivering, how) as doomed, runner(folder, delivering, how) as other:
                await asyncio.sleep(max(0.0, STEADY - after))
                entrance.behind = [_port(doomed)]
                await silent.ask("hold")
                await submit(doomed.ready["api"], silent.ready["url"], [f"call-{number}" for number in range(calls)])
                await _all_running(silent, calls)
                entrance.behind.append(_port(other))
                await asyncio.sleep(max(0.0, after - 2))
                file = folder / "longcall.db"
                (owner,) = owners(file)
                killed = await _kill(doomed)
                lease_end = (last_beat(file, owner) + GOOD_FOR).timestamp()
                return await _aftermath(silent, file, calls, killed, lease_end)


async def under_up(silent: Running, calls: int) -> Found:
    """Kill `longcall up`, and start it again."""
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as name:
        folder = Path(name)
        async with _up(folder, calls) as doomed:
            await silent.ask("hold")
            await submit(doomed.ready["api"], silent.ready["url"], [f"call-{number}" for number in range(calls)])
            await _all_running(silent, calls)
            killed = await _kill(doomed)
        async with _up(folder, calls):
            return await _aftermath(silent, folder / "data" / "longcall.db", calls, killed)


@asynccontextmanager
async def _up(folder: Path, calls: int) -> AsyncIterator[Running]:
    ports = ("--port", "0", "--grpc-port", "0", "--rest-port", "0")
    async with longcall(folder, "up", *ports, "--data", str(folder / "data"), CREATE_RATE="1000000", **room(calls)) as running:
        yield running


def _port(running: Running) -> int:
    return int(running.ready["api"].rpartition(":")[2])


async def _kill(running: Running) -> float:
    killed = time.time()  # noqa: TID251 — beside the target's times and the lease's, which are of the same clock
    await running.kill()
    return killed


async def _all_running(silent: Running, calls: int) -> None:
    async def held() -> bool:
        return bool((await silent.ask("count"))["held"] >= calls)

    assert await wait_until(held, PATIENCE), "not all calls were running"  # noqa: S101 — a bench that measured less would lie


async def _aftermath(silent: Running, file: Path, calls: int, killed: float, lease_end: float | None = None) -> Found:
    """Wait until each call was made again, have all answered, and count."""

    async def again() -> bool:
        return len({name for name, came in await silent.ask("seen") if came > killed}) >= calls

    async def settled() -> bool:
        return ended(file, "SUCCEEDED") >= calls

    await wait_until(again, PATIENCE, pause=0.5)
    seen = [(str(name), float(came)) for name, came in await silent.ask("seen")]
    await silent.ask("answer 1")
    await wait_until(settled, PATIENCE)
    times = [came - killed for _, came in seen if came > killed] or [float("inf")]
    early = None if lease_end is None else sum(killed < came < lease_end for _, came in seen)
    doubled = sum(count > 2 for count in Counter(name for name, _ in seen).values())
    as_told = histories(file)["LOST", "response"]
    return Found(min(times), max(times), early, doubled, calls - as_told)


async def plain(silent: Running, calls: int) -> int:
    """Kill a plain relay with so many requests open; how many of them are lost to those who asked."""
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with started(Path(folder, "plain.log"), str(HERE / "plain.py"), silent.ready["url"]) as service:
            await silent.ask("hold")
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as http:
                sent = [asyncio.create_task(post(service.ready["url"] + "/limitless", http)) for _ in range(calls)]
                await _all_running(silent, calls)
                await service.kill()
                return (await asyncio.gather(*sent)).count(False)


def rows(table: Table, what: str, found: list[Found], lost: int, limit: float | None) -> None:
    """What came of the kills, as lines. A target is for the worst of them."""
    worst = max(each.last for each in found)
    table.row(f"{what}: first one running again", median_of([each.first for each in found], "s"))
    bound = at_most(limit, "s") if limit else None
    remark = f"the longest of {len(found)}: {', '.join(f'{each.last:.1f}' for each in found)}"
    table.row(f"{what}: all running again", Figure(worst, "s", remark=remark), "never", bound)
    table.row(f"{what}: from the first to the last", median_of([each.last - each.first for each in found], "s"))
    if early := [each.early for each in found if each.early is not None]:
        table.row(f"{what}: made again while the owner had its lease", Figure(sum(early), ""), None, at_most(0, ""))
    table.row(f"{what}: made more than once again", Figure(sum(each.doubled for each in found), ""), None, at_most(0, ""))
    table.row(f"{what}: lost", Figure(sum(each.lost for each in found), ""), f"{lost:,}", at_most(0, ""))


async def main(table: Table, calls: int, after: list[float], times: int) -> None:
    """The baseline, two runners, `up`."""
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with target(Path(folder)) as silent:
            lost = await plain(silent, calls)
            if after:
                pairs = [await two_runners(silent, calls, each) for each in after]
                rows(table, f"{calls:,} calls, another runner lives", pairs, lost, LIMIT)
            rows(table, f"{calls:,} calls, up is started again", [await under_up(silent, calls) for _ in range(times)], lost, None)
    if after:
        moments = ", ".join(f"{each:g}" for each in after)
        table.note(
            f"The runner was killed {moments} s after its first call began. Its lease is good for 30 s, and it is looked at once a minute."
        )
    else:
        table.note("At its smallest size nobody waits for a lease to end, which takes a minute: two runners are not measured.")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--after", type=float, nargs="+", default=[5.0, 25.0, 45.0], metavar="SECONDS")
    parser.add_argument("--times", type=int, default=3, help="how often up is killed")
    chosen = parser.parse_args()
    result = Table("A runner is killed with calls running", uses=("aiohttp", "uvloop"))
    how = (20, list[float](), 1) if chosen.smallest else (chosen.calls, chosen.after, chosen.times)
    uvloop.run(main(result, *how))
    result.show(chosen)
