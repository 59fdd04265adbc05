"""What a thousand, a hundred thousand and ten million running calls need: a model, held to a real run at the small end.

    .venv/bin/python bench/scale.py [--calls 100] [--seconds 65] [--hours 1] [--json FILE]

The model counts what each call and each runner ask of the store and the queues, call after call of so many hours each, detached. The real
run holds a few calls in a runner of its own, and /metrics tells what it asked of the store. Limits are Google's and those of docs/costs.md,
prices are read there, and as UNVERIFIED as there.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import aiohttp
import uvloop
from calling import submit, wait_until
from processes import Running, free_port, queue, runner, target
from store_file import ended
from table import ROOT, Figure, Table, arguments, at_most

from longcall.engine.cancels import LOOK_EVERY
from longcall.engine.lease import BEAT_EVERY, LOOK_AHEAD

SIZES = (1_000, 100_000, 10_000_000)
MONTH = 730  # hours
CALLS_A_RUNNER = 5_000  # LONGCALL_MAX_CALLS in deploy/app.manual.yaml
BASIC_INSTANCES, BASIC_CALLS = 25, 7  # docs/costs.md
DISPATCHES, CONCURRENT, QUEUES = 500, 5_000, 1_000  # a second and at once for a Cloud Tasks queue, and queues of a project
NEW_RECORDS = 500  # a second, in a Firestore index of ascending times
GROUPED_WRITES = 16_000  # a second, grouped as stores/postgres_groups.py does it, measured when PostgreSQL was chosen
OPERATION = re.compile(r'^longcall_store_seconds_count\{operation="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE)
PRICE = r"^\| {name}[^|]*\|[^|]*\| ([0-9.]+) (?:an hour|for ([0-9,]+)) \|"
Counts = Mapping[str, float]


def asked(calls: float, runner_seconds: float, early: float) -> dict[str, float]:
    """How often each of the store's operations is asked for: by so many calls from creation to end, and by runners that hold any.

    `early` is the share of calls whose dispatch comes before their record is written: it makes the record, and its creator finds it there.
    """
    looks = runner_seconds / LOOK_AHEAD.total_seconds()
    return {
        "insert": calls * (1 + early),
        "get": calls * (2 + early),  # is its id taken; the dispatch
        "replace": 2 * calls,  # the take; the settle
        "cancelled": runner_seconds / LOOK_EVERY,
        "beat": runner_seconds / BEAT_EVERY + looks,
        "runner": looks,
    }


WRITES = ("insert", "replace", "beat")


def writes(counts: Counts) -> float:
    """Of them, those that write."""
    return sum(counts[each] for each in WRITES)


def reads(counts: Counts) -> float:
    """Those that read; a query that finds nothing costs one read too."""
    return sum(count for name, count in counts.items() if name not in WRITES)


@dataclass(frozen=True)
class Need:
    """What so many running calls need, each of which takes so many hours and is followed by another. Rates are a second."""

    calls: int
    hours: float
    early: float

    @property
    def runners(self) -> int:
        """Processes."""
        return ceil(self.calls / CALLS_A_RUNNER)

    @property
    def begun(self) -> float:
        """Calls that begin, and as many that end."""
        return self.calls / (self.hours * 3600)

    @property
    def store(self) -> Counts:
        """Operations of the store."""
        return asked(self.begun, self.runners, self.early)

    @property
    def looks(self) -> float:
        """Dispatches on the control queue."""
        return self.runners / LOOK_AHEAD.total_seconds()

    @property
    def queues(self) -> int:
        """Queues for calls."""
        return ceil(self.begun / DISPATCHES)

    def month(self, prices: "Prices") -> dict[str, float]:
        """US dollars of a month."""
        seconds = MONTH * 3600
        return {
            "instances": self.runners * MONTH * prices.instance,
            "store": seconds * (writes(self.store) * prices.write + reads(self.store) * prices.read),
            "queues": seconds * 2 * (self.begun + self.looks) * prices.operation,  # created, dispatched
        }


@dataclass(frozen=True)
class Prices:
    """US dollars for one of each; an instance for an hour."""

    instance: float
    read: float
    write: float
    operation: float

    @classmethod
    def read_from(cls, page: str) -> "Prices":
        """Those of docs/costs.md. Raises ValueError for one that is missing."""
        return cls(*(_price(page, name) for name in ("B4_1G instances", "Firestore reads", "Firestore writes", "Cloud Tasks")))


def _price(page: str, name: str) -> float:
    found = re.search(PRICE.format(name=name), page, re.MULTILINE)
    if found is None:
        raise ValueError(f"docs/costs.md has no price for {name}")
    return float(found[1]) / float((found[2] or "1").replace(",", ""))


def limits(hours: float, early: float) -> dict[str, tuple[float, str]]:
    """At how many running calls each limit is met, and what is done then."""
    a_second = hours * 3600
    return {
        f"{BASIC_INSTANCES} instances, basic scaling": (BASIC_INSTANCES * BASIC_CALLS, "manual scaling, detached"),
        f"{CONCURRENT:,} dispatches at once, held": (CONCURRENT, "detach"),
        f"{CALLS_A_RUNNER:,} calls a runner": (CALLS_A_RUNNER, "more runners"),
        f"{NEW_RECORDS} new records a second in Firestore": (NEW_RECORDS * a_second, "PostgreSQL"),
        f"{DISPATCHES} dispatches a second and queue": (DISPATCHES * a_second, "several Longcalls, each with its queue"),
        f"{QUEUES:,} queues of {DISPATCHES} dispatches a second": (QUEUES * DISPATCHES * a_second, "another project"),
        f"{GROUPED_WRITES:,} writes a second in PostgreSQL": (
            GROUPED_WRITES / writes(asked(1, 0, early)) * a_second,
            "several Longcalls, each with its store",
        ),
        "looks on one control queue": (DISPATCHES * LOOK_AHEAD.total_seconds() * CALLS_A_RUNNER, "several Longcalls"),
    }


@dataclass(frozen=True)
class Did:
    """What a real run asked of its store, and the processor seconds of its runner."""

    store: Counts
    calls: int
    held: float
    cpu: float

    @property
    def early(self) -> float:
        """The share of calls whose dispatch came before their record."""
        return self.store["insert"] / self.calls - 1


async def real(calls: int, seconds: float) -> Did:
    """Begin so many calls at once, hold them, have them answered, and count."""
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as name:
        folder, port = Path(name), free_port()
        async with target(folder) as silent, queue(folder, f"http://127.0.0.1:{port}") as delivering:  # noqa: SIM117 — too long a line
            async with runner(folder, delivering, {"MAX_CALLS": str(2 * calls + 100)}, port) as running:
                api = running.ready["api"]
                await _through(silent, running, folder, "warm", calls, 0)
                before, cpu, start = await _operations(api), running.cpu(), time.monotonic()
                await _through(silent, running, folder, "call", calls, seconds)
                held = time.monotonic() - start
                after = await _operations(api)
                return Did({each: after[each] - before.get(each, 0) for each in after}, calls, held, running.cpu() - cpu)


async def _through(silent: Running, running: Running, folder: Path, word: str, calls: int, seconds: float) -> None:
    before = ended(folder / "longcall.db", "SUCCEEDED")

    async def held() -> bool:
        return bool((await silent.ask("count"))["held"] >= calls)

    async def settled() -> bool:
        return ended(folder / "longcall.db", "SUCCEEDED") >= before + calls

    await silent.ask("hold")
    await submit(running.ready["api"], silent.ready["url"], [f"{word}-{number}" for number in range(calls)])
    assert await wait_until(held, 60), "not all calls were running"  # noqa: S101 — a bench that measured less would lie
    await asyncio.sleep(seconds)
    await silent.ask("answer 0")
    assert await wait_until(settled, 60), "not all calls were settled"  # noqa: S101 — as above


async def _operations(api: str) -> dict[str, float]:
    async with aiohttp.ClientSession() as http, http.get(f"{api}/metrics") as answer:
        return {name: float(count) for name, count in OPERATION.findall(await answer.text())}


def compared(table: Table, did: Did) -> None:
    """What a real run asked of the store, beside the model. Once a minute and once in ten seconds fall as they fall."""
    calls, model = did.calls, asked(did.calls, did.held, did.early)
    for name, said in model.items():
        found = did.store.get(name, 0)
        bound = at_most(ceil(said * 1.05) + 1, "") if name != "insert" else None  # the share that was early was learned from this one
        table.row(f"{calls:,} calls for {did.held:.0f} s, {name}", Figure(found, ""), f"{said:,.1f} by the model", bound)
    table.row("calls whose dispatch came before their record", Figure(did.early * 100, "%"))
    table.row("processor of the runner, a call from creation to end", Figure(did.cpu / calls * 1000, "ms"))


def needed(table: Table, hours: float, early: float) -> None:
    """What each size needs, and what it meets."""
    prices = Prices.read_from((ROOT / "docs" / "costs.md").read_text(encoding="utf-8"))
    known = sorted(limits(hours, early).items(), key=lambda each: each[1][0])
    for size in SIZES:
        need, basic = Need(size, hours, early), ceil(size / BASIC_CALLS)
        held = f"{basic:,} instances, held on basic scaling: {'fits' if basic <= BASIC_INSTANCES else f'{BASIC_INSTANCES} are to be had'}"
        month = need.month(prices)
        parts = ", ".join(f"{name} {cost:,.0f}" for name, cost in month.items())
        table.row(f"{size:,} calls: runners", Figure(need.runners, ""), held)
        table.row(f"{size:,} calls: begin, and end, a second", Figure(need.begun, "/s"))
        table.row(f"{size:,} calls: queues for them", Figure(need.queues, ""), None, at_most(QUEUES, ""))
        table.row(f"{size:,} calls: looks", Figure(need.looks, "/s"), None, at_most(DISPATCHES, "/s"))
        table.row(f"{size:,} calls: writes to the store", Figure(writes(need.store), "/s"))
        table.row(f"{size:,} calls: reads of the store", Figure(reads(need.store), "/s"))
        table.row(f"{size:,} calls: a month (UNVERIFIED prices)", Figure(round(sum(month.values())), "US dollars", remark=parts))
        met = [name for name, (at, _) in known if at < size]
        table.row(f"{size:,} calls: limits met on the way", "; ".join(met) or "none")
    for name, (at, then) in known:
        table.row(f"met at: {name}", Figure(at, "calls"), f"then: {then}")
    table.note(
        f"Each call takes {hours:g} h and is followed by another; detached, {CALLS_A_RUNNER:,} in a runner on B4_1G, manual scaling; how "
        "many instances Google gives an app there is UNVERIFIED. Prices are those of docs/costs.md, UNVERIFIED as there. Callbacks, "
        "retries, free quotas, and what the targets cost are left out."
    )


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--calls", type=int, default=100, help="size of the real run")
    parser.add_argument("--seconds", type=float, default=65, help="how long it holds them: over a minute, to meet a look")
    parser.add_argument("--hours", type=float, default=1, help="how long a call takes in the model")
    chosen = parser.parse_args()
    if chosen.smallest:
        chosen.calls, chosen.seconds = 10, 2
    result = Table("From a thousand to ten million running calls", uses=("aiohttp",))
    found = uvloop.run(real(chosen.calls, chosen.seconds))
    compared(result, found)
    needed(result, chosen.hours, found.early)
    result.show(chosen)
