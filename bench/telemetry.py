"""What telemetry costs: the same short tasks with nothing counted, with metrics alone, and with metrics and traces going out by OTLP.

    .venv/bin/python bench/telemetry.py [TASKS] [AT_ONCE] [ROUNDS]

One stack is switched between the three, a slice of tasks each in turn, so that whatever else the machine does meets all of them. A slice
ends when its spans are sent. The figures are medians of what a slice cost against the one of its round with nothing counted. Target, queue,
runner and load share this process, the collector is another one; then the same with a collector that is not there.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypeVar
from unittest.mock import patch

import aiohttp
import uvloop
from run import Target, timed

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


async def measure(collector: str, count: int, at_once: int, rounds: int) -> None:
    """Print what each costs."""
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    otel = Otel(f"{collector}/v1/traces", f"{collector}/v1/metrics")
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        options = LaptopOptions(0, 0, 0, Path(folder), replace(Settings(), otel=otel))
        async with laptop(options) as stack, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            numbers = iter(range(1_000_000_000))

            async def through(_: int) -> None:
                number = next(numbers)
                async with http.post(f"{stack.api_url}/v1/tasks", json={"id": f"b{number}", "httpRequest": {"url": url}}) as answer:
                    await answer.read()
                async with http.get(f"{stack.api_url}/v1/tasks/b{number}?wait=60s") as answer:
                    assert b'"SUCCEEDED"' in await answer.read()  # noqa: S101 — a bench that measured failures would lie

            async def cost() -> tuple[float, float]:
                start = time.process_time()
                seconds, _ = await timed(count, at_once, through)
                if collector != NOWHERE:
                    await asyncio.to_thread(flush)
                return seconds / count, (time.process_time() - start) / count

            told = observe._told  # noqa: SLF001 — what is installed is switched off and on
            meter, flush = told.meter, told.traces.ended.__self__.force_flush  # type: ignore[attr-defined] # telemetry/otel.py's batches
            variants = {
                "nothing counted": uncounted,
                "metrics alone": lambda: observe.telling(None, meter),
                "metrics and traces": ExitStack,
            }
            for _ in range(2):
                await cost()  # what is loaded lazily
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
            for number in range(rounds):
                turn = number % len(variants)
                for name, variant in [*variants.items()][turn:] + [*variants.items()][:turn]:
                    with variant():
                        found[name].append(await cost())
    server.close()
    base = found["nothing counted"]
    for name, costs in found.items():
        slower, dearer = (median(mine[which] / other[which] for mine, other in zip(costs, base, strict=True)) for which in (0, 1))
        took, spent = (median(each[which] for each in costs) * 1000 for which in (0, 1))
        print(f"  {name:<20} {1000 / took:>6.0f} /s {1 / slower - 1:>+7.1%}   {spent:>6.3f} ms of processor a task {dearer - 1:>+7.1%}")


def main(count: int, at_once: int, rounds: int) -> None:
    """Both, one after the other."""
    set_up_silence()
    print(f"slices of {count} short calls, {at_once} at once, {rounds} rounds")
    with subprocess.Popen([sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True) as process:
        port = process.stdout.readline().strip() if process.stdout else ""
        try:
            print("a collector that takes everything")
            uvloop.run(measure(f"http://127.0.0.1:{port}", count, at_once, rounds))
        finally:
            process.terminate()
    print("a collector that is not there")
    uvloop.run(measure(NOWHERE, count, at_once, rounds))


if __name__ == "__main__":
    main(*(int(text) for text in (sys.argv[1:] + ["100", "32", "30"][len(sys.argv) - 1 :])))
