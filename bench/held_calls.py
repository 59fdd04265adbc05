"""Silent HTTPS calls held at once: memory, processor while nothing happens, and how long until all are settled once all are answered.

    .venv/bin/python bench/held_calls.py [--calls 1000 5000 10000] [--idle 30] [--json FILE]

Queue, runner and target are a process each, on loopback; the runner's store is SQLite. Its memory is its own alone, with the API that the
calls were asked for through. The baselines are services that relay as people write it first (plain.py), with 1,000 calls at most.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import mean

import aiohttp
import uvloop
from calling import post, submit, wait_until
from processes import HERE, Running, cpu_shares, free_port, open_files, queue, runner, started, target
from store_file import ended
from table import Bound, Cell, Figure, Table, arguments, at_most, median_of

WARM_UP, BASELINES = 200, 1000
SPARE_FILES = 600
SLOTS = 8  # what App Engine's default holds
CLIENT_PATIENCE = 7.0  # seconds; httpx2's own is 5
PATIENCE = 300.0
MIB_OF_A_B2, KIB_A_CALL, IDLE_SHARE = 640, 80, 2
DESIGNED_FOR = 10_000


@dataclass(frozen=True)
class Options:
    """What to measure. `settling` is how long it is left alone before each measuring, `silence` what the baselines meet, in seconds."""

    calls: list[int]
    idle: float
    settling: float = 3.0
    silence: float = CLIENT_PATIENCE

    @property
    def baselines(self) -> int:
        """How many calls the baselines get: a thread for each is not to be had for more."""
        return min(BASELINES, *self.calls)


@dataclass(frozen=True)
class Found:
    """What one run showed. Memory is in MiB, times in seconds, shares in % of a core."""

    calls: int
    held: int
    base: float
    memory: float
    most: float
    after: float
    cpu: list[float]
    queue_cpu: list[float]
    queue_memory: float
    came: float
    settled: float
    lost: int
    again: int

    @property
    def each(self) -> float:
        """KiB a call."""
        return (self.memory - self.base) * 1024 / self.held


@asynccontextmanager
async def stack(folder: Path, trusted: Path, calls: int, *, detached: bool) -> AsyncIterator[tuple[Running, Running]]:
    """A queue and a runner with room for so many calls: a tenth of it is kept for callbacks."""
    port = free_port()
    how = {"WHEN_FULL": "detach", "HOLD_SLOTS": str(SLOTS)} if detached else {}
    async with queue(folder, f"http://127.0.0.1:{port}") as delivering:
        room = {"MAX_CALLS": str(ceil(calls / 0.9) + 10), "SSL_CERT_FILE": str(trusted)}
        async with runner(folder, delivering, room | how, port) as running:
            yield delivering, running


async def ours(silent: Running, trusted: Path, calls: int, options: Options, *, detached: bool) -> Found:
    """Hold so many calls, measure, have them answered."""
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as name:
        folder, file = Path(name), Path(name, "longcall.db")
        async with stack(folder, trusted, calls, detached=detached) as (delivering, running):
            api, url = running.ready["api"], silent.ready["url"]
            await silent.ask("answer 0")
            warm = min(WARM_UP, calls)
            await submit(api, url, [f"warm-{number}" for number in range(warm)])
            assert await wait_until(lambda: _settled(file, warm), PATIENCE), "the warm-up did not end"  # noqa: S101 — as above
            await silent.ask("hold")
            await asyncio.sleep(options.settling)
            base, start = running.memory(), time.monotonic()
            await submit(api, url, [f"call-{number}" for number in range(calls)])
            await wait_until(lambda: _held(silent, calls), PATIENCE)
            came = time.monotonic() - start
            await asyncio.sleep(options.settling)
            used, used_by_queue = await cpu_shares(options.idle, running, delivering)
            held, memory, queue_memory = (await silent.ask("count"))["held"], running.memory(), delivering.memory()
            answered = await silent.ask("answer 1")
            await wait_until(lambda: _settled(file, warm + calls), PATIENCE)
            settled = time.time() - answered["first"]  # noqa: TID251 — beside the other process's, which has it from the same clock
            lost, seen = warm + calls - ended(file, "SUCCEEDED"), Counter(name for name, _ in await silent.ask("seen"))
            again = sum(count > 1 for count in seen.values())
            await asyncio.sleep(options.settling)
            most, after = running.most_memory(), running.memory()
            return Found(calls, held, base, memory, most, after, used, used_by_queue, queue_memory, came, settled, lost, again)


async def _settled(file: Path, wanted: int) -> bool:
    return ended(file, "SUCCEEDED") >= wanted


async def _held(silent: Running, wanted: int) -> bool:
    return bool((await silent.ask("count"))["held"] >= wanted)


@dataclass(frozen=True)
class Plain:
    """What a baseline showed."""

    calls: int
    most: int
    failed: int
    base: float
    memory: float
    cpu: float

    def of_calls(self) -> str:
        """How many it really held at once, and how many failed."""
        return f"held {self.most:,} of {self.calls:,} at once, {self.failed:,} failed"

    def each(self) -> str:
        """KiB a call, where it held them all."""
        return f"{(self.memory - self.base) * 1024 / self.calls:,.0f} KiB a call" if self.most >= self.calls else "the others wait in it"


async def plain(silent: Running, trusted: Path, path: str, options: Options, *words: str) -> Plain:
    """Send calls through a baseline at once, and see what it makes of them: silence for longer than httpx2 waits, then answers."""
    calls = options.baselines
    trust = {"SSL_CERT_FILE": str(trusted), "REQUESTS_CA_BUNDLE": str(trusted)}
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with started(Path(folder, "plain.log"), str(HERE / "plain.py"), silent.ready["url"], *words, environ=trust) as service:
            await silent.ask("answer 0")
            async with aiohttp.ClientSession() as http:
                for _ in range(20):
                    assert await post(service.ready["url"] + path, http), "the warm-up failed"  # noqa: S101 — as above
            await silent.ask("hold")
            await asyncio.sleep(options.settling)
            base = service.memory()
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as http:
                sent = [asyncio.create_task(post(service.ready["url"] + path, http)) for _ in range(calls)]
                await wait_until(lambda: _held(silent, calls), patience=options.silence + calls / 100)
                await asyncio.sleep(options.settling)
                memory = service.memory()
                (used,) = await cpu_shares(options.silence, service)
                await silent.ask("answer 1")
                answers = await asyncio.gather(*sent)
            most = (await silent.ask("count"))["most"]
            return Plain(calls, most, answers.count(False), base, memory, mean(used))


def rows(table: Table, found: Found, how: str, baseline: Plain | None) -> None:
    """What one run showed, as lines."""
    size = f"{found.held:,} {how}"
    whole = how == "detached" and found.held >= DESIGNED_FOR

    def row(what: str, ours: Cell, beside: str = "", bound: Bound | None = None) -> None:
        table.row(f"{size}: {what}", ours, beside or None, bound)

    row("calls lost", Figure(found.lost, ""), baseline.of_calls() if baseline else "", at_most(0, ""))
    row("calls made twice", Figure(found.again, ""), bound=at_most(0, ""))
    in_all = Figure(round(found.memory, 1), "MiB", remark=f"{found.base:.0f} before, {found.most:.0f} at most, {found.after:.0f} after")
    row("memory in all", in_all, f"{baseline.memory:,.0f} MiB" if baseline else "", at_most(MIB_OF_A_B2, "MiB") if whole else None)
    bound = at_most(KIB_A_CALL, "KiB") if how == "held" else None
    row("memory a call", Figure(round(found.each, 1), "KiB"), baseline.each() if baseline else "", bound)
    row("processor while idle", median_of(found.cpu, "% of a core"), bound=at_most(IDLE_SHARE, "% of a core") if whole else None)
    row("the queue, idle beside it", median_of(found.queue_cpu, "% of a core", f"{found.queue_memory:,.0f} MiB"))
    row("from the first to all of them running", Figure(round(found.came, 1), "s"))
    row("all settled, after answers spread over 1 s", Figure(round(found.settled, 2), "s"))


async def main(options: Options, table: Table) -> None:
    """The baselines, then ours at each size."""
    most_held = (open_files() - SPARE_FILES) // 2  # a held call has its dispatch's connection and its own
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        trusted = Path(folder, "certificate.pem")
        async with target(Path(folder), "--tls", str(trusted)) as silent:
            some = options.baselines
            baselines = {
                "requests in FastAPI's 40 threads": await plain(silent, trusted, "/threads", options),
                f"requests in {some:,} threads": await plain(silent, trusted, "/threads", options, "--threads", str(some)),
                "httpx2.AsyncClient as it comes": await plain(silent, trusted, "/client", options),
                "httpx2.AsyncClient without limits": await plain(silent, trusted, "/limitless", options),
            }
            for name, each in baselines.items():
                table.row(
                    f"{some:,} through {name}", None, f"{each.of_calls()}; {each.memory:,.0f} MiB, {each.each()}; idle {each.cpu:.1f} %"
                )
            best = baselines["httpx2.AsyncClient without limits"]
            for calls in options.calls:
                beside = best if calls == some else None
                rows(table, await ours(silent, trusted, calls, options, detached=True), "detached", beside)
                rows(table, await ours(silent, trusted, min(calls, most_held), options, detached=False), "held", beside)
    table.note(
        "Processor: the median of six intervals. The highest, soon after so many were begun, may have one full collection of garbage."
    )
    table.note("Beside ours stands httpx2.AsyncClient without limits, the only baseline that holds them without a thread for each.")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1000, 5000, 10_000])
    parser.add_argument("--idle", type=float, default=30, metavar="SECONDS")
    chosen = parser.parse_args()
    asked = Options([30], 1.5, 0.6, 0.2) if chosen.smallest else Options(chosen.calls, chosen.idle)
    result = Table("Silent HTTPS calls held at once", uses=("aiohttp", "uvloop", "httpx2", "requests", "fastapi", "uvicorn"))
    uvloop.run(main(asked, result))
    result.show(chosen)
