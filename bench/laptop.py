"""Short tasks through everything on one machine, beside the same calls made directly by the same client library in the same run.

    .venv/bin/python bench/laptop.py [--tasks 2000] [--at-once 64] [--rounds 5] [--json FILE]

The target, the stack and the load share this process and its core, so the figures compare, and are no ceiling: relay.py has that. The added
latency is of calls on an idle system: a call made directly and one through everything take turns, one after the other.
"""

import asyncio
import tempfile
import time
from itertools import count
from pathlib import Path

import aiohttp
import uvloop
from calling import quantile, timed, to_the_end
from table import Figure, Table, arguments, at_most, median_of

from longcall.assembly import LaptopOptions, laptop
from longcall.settings import Settings
from longcall.telemetry import set_up_silence

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PARTS = {"p50": (0.5, at_most(4, "ms")), "p99": (0.99, at_most(15, "ms"))}


class Target(asyncio.Protocol):
    """Answers every request at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """One answer for each request's head."""
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined] # a socket's transport can write


class Calls:
    """Calls of the target, directly and through the stack."""

    def __init__(self, api: str, url: str, http: aiohttp.ClientSession) -> None:
        self._api, self._url, self._http = api, url, http
        self._numbers = count()

    async def direct(self, _: int = 0) -> None:
        """One by the client library."""
        async with self._http.post(self._url) as answer:
            await answer.read()

    async def through(self, _: int = 0) -> None:
        """One that is submitted, called, settled, and waited for."""
        await to_the_end(self._api, self._url, f"b{next(self._numbers)}", self._http)

    async def in_turn(self, many: int) -> tuple[list[float], list[float]]:
        """So many both ways: milliseconds of those made directly, and how many more those through everything took, both in order."""
        direct, added = list[float](), list[float]()
        for _ in range(many):
            start = time.perf_counter()
            await self.direct()
            between = time.perf_counter()
            await self.through()
            direct.append((between - start) * 1000)
            added.append((time.perf_counter() - between) * 1000 - direct[-1])
        return sorted(direct), sorted(added)


async def busy(table: Table, calls: Calls, tasks: int, at_once: int, rounds: int) -> None:
    """The rows of many at once."""
    direct = [await timed(tasks, at_once, calls.direct) for _ in range(rounds)]
    through = [await timed(tasks, at_once, calls.through) for _ in range(rounds)]

    def a_second(found: list[tuple[float, list[float]]]) -> Figure:
        return median_of([tasks / seconds for seconds, _ in found], "/s")

    what = f"{at_once} at once"
    table.row(f"{what}: submit, call, settle, wait", a_second(through), a_second(direct))
    for name, (part, _) in PARTS.items():
        ours, theirs = (median_of([quantile(took, part) for _, took in found], "ms") for found in (through, direct))
        table.row(f"{what}: {name}", ours, theirs)


async def idle(table: Table, calls: Calls, tasks: int, rounds: int) -> None:
    """The rows of one at a time."""
    found = [await calls.in_turn(tasks) for _ in range(rounds)]
    for name, (part, bound) in PARTS.items():
        direct, added = (median_of([quantile(took, part) for took in each], "ms") for each in zip(*found, strict=True))
        table.row(f"added latency of one short call on an idle system: {name}", added, direct, bound)


async def main(table: Table, tasks: int, at_once: int, rounds: int) -> None:
    """Both, one after the other."""
    set_up_silence()
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with (
            laptop(LaptopOptions(0, 0, 0, Path(folder), Settings(create_rate=1_000_000))) as stack,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            calls = Calls(stack.api_url, url, http)
            await timed(at_once * 2, at_once, calls.through)  # what is loaded lazily
            await busy(table, calls, tasks, at_once, rounds)
            await idle(table, calls, max(tasks // 10, 10), rounds)
    server.close()
    table.note(
        "Beside ours stands the same call made directly by aiohttp. The target answers at once; SQLite has what it answers on the disk. "
        "The added latency is from the submit to the answer of the wait, less what the call made directly just before took."
    )


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=2000, help="of each round; a tenth of them, one after the other")
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    how = (50, 8, 1) if chosen.smallest else (chosen.tasks, chosen.at_once, chosen.rounds)
    result = Table("Short tasks through everything in one process", uses=("aiohttp", "uvicorn", "uvloop"))
    uvloop.run(main(result, *how))
    result.show(chosen)
