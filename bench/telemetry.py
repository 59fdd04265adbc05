"""What telemetry costs: the same short tasks with nothing counted, with metrics alone, and with metrics and traces going out by OTLP.

    .venv/bin/python bench/telemetry.py [--tasks 100] [--at-once 32] [--rounds 30] [--json FILE]

Metrics alone is what Longcall does as it comes. One stack is switched between the three, a slice of tasks each in turn, so that whatever
else the machine does meets all of them. A slice ends when its spans are sent. A cost is the median of what a slice cost against the one of
its round with nothing counted. Target, queue, runner and load share this process, the collector is another one; then the same with a
collector that is not there.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import aiohttp
import uvloop
from calling import timed, to_the_end
from laptop import Target
from table import Table, arguments, at_most, median_of

from longcall.assembly import LaptopOptions, laptop
from longcall.engine import observe
from longcall.settings import Otel, Settings
from longcall.stores.timed import TimedStore
from longcall.telemetry import set_up_silence

COLLECTOR = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
NOWHERE = "http://127.0.0.1:9"
COSTS = {"metrics alone": at_most(2, "%"), "metrics and traces": at_most(15, "%")}  # of throughput
Answer = TypeVar("Answer")


class Nobody:
    """A meter that counts nothing."""

    def add(self, *_: object) -> None:
        """Nothing."""

    def record(self, *_: object) -> None:
        """Nothing."""


async def untimed(_: TimedStore, __: str, work: Awaitable[Answer]) -> Answer:
    """A store's operation, not timed."""
    return await work


def uncounted() -> AbstractContextManager[object]:
    """Longcall as it would be without metrics."""
    stack = ExitStack()
    stack.enter_context(patch.object(TimedStore, "_timed", untimed))
    stack.enter_context(observe.telling(None, Nobody()))
    return stack


@dataclass(frozen=True)
class Slices:
    """How many rounds, of how many tasks a slice, how many of them at once."""

    tasks: int
    at_once: int
    rounds: int


@dataclass(frozen=True)
class Cost:
    """Seconds of a task in a slice, by the clock and of the processor."""

    took: float
    spent: float


async def measure(collector: str, slices: Slices) -> dict[str, list[Cost]]:
    """What each costs, round after round."""
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    otel = Otel(f"{collector}/v1/traces", f"{collector}/v1/metrics")
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        options = LaptopOptions(0, 0, 0, Path(folder), replace(Settings(), otel=otel, create_rate=1_000_000))
        async with laptop(options) as stack, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            numbers = count()

            async def cost() -> Cost:
                start = time.process_time()
                seconds, _ = await timed(slices.tasks, slices.at_once, lambda _: to_the_end(stack.api_url, url, f"b{next(numbers)}", http))
                if collector != NOWHERE:
                    await asyncio.to_thread(flush)
                return Cost(seconds / slices.tasks, (time.process_time() - start) / slices.tasks)

            told = observe._told  # noqa: SLF001 — what is installed is switched off and on
            meter, flush = told.meter, told.traces.ended.__self__.force_flush  # type: ignore[attr-defined] # telemetry/otel.py's batches
            variants = {
                "nothing counted": uncounted,
                "metrics alone": lambda: observe.telling(None, meter),
                "metrics and traces": ExitStack,
            }
            for _ in range(2):
                await cost()  # what is loaded lazily
            found: dict[str, list[Cost]] = {name: [] for name in variants}
            for number in range(slices.rounds):
                turn = number % len(variants)
                for name, variant in [*variants.items()][turn:] + [*variants.items()][:turn]:
                    with variant():
                        found[name].append(await cost())
    server.close()
    return found


def rows(table: Table, where: str, found: dict[str, list[Cost]]) -> None:
    """What each costs, against nothing counted, as lines."""
    base = found["nothing counted"]
    rate, spent = median_of([1 / each.took for each in base], "/s"), median_of([each.spent * 1000 for each in base], "ms")
    table.row(f"{where}, nothing counted: tasks a second", None, rate)
    table.row(f"{where}, nothing counted: processor a task", None, spent)
    for name, bound in COSTS.items():
        pairs = list(zip(found[name], base, strict=True))
        slower = median_of([(1 - other.took / mine.took) * 100 for mine, other in pairs], "%")
        dearer = median_of([(mine.spent / other.spent - 1) * 100 for mine, other in pairs], "%")
        table.row(f"{where}, {name}: throughput lost", slower, None, bound)
        table.row(f"{where}, {name}: more processor a task", dearer)


def main(table: Table, slices: Slices) -> None:
    """Both, one after the other."""
    set_up_silence()
    with subprocess.Popen([sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True) as process:
        port = process.stdout.readline().strip() if process.stdout else ""
        try:
            rows(table, "a collector that takes everything", uvloop.run(measure(f"http://127.0.0.1:{port}", slices)))
        finally:
            process.terminate()
    rows(table, "no collector there", uvloop.run(measure(NOWHERE, slices)))
    table.note(
        f"Slices of {slices.tasks} tasks, {slices.at_once} at once. Metrics alone is Longcall as it comes. Each round's slices stand "
        "against its own with nothing counted; the extremes are of single slices, which are short."
    )


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=100, help="of a slice")
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    how = Slices(20, 8, 2) if chosen.smallest else Slices(chosen.tasks, chosen.at_once, chosen.rounds)
    result = Table("What telemetry costs", uses=("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "aiohttp", "uvloop"))
    main(result, how)
    result.show(chosen)
