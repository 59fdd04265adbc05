"""Short tasks through everything on one machine, beside the same calls made directly by the same client library in the same run.

    make bench            or   .venv/bin/python bench/run.py [TASKS] [AT_ONCE]

The target, the stack and the load share this process and its core, so the figures compare, and are no ceiling.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import uvloop

from longcall.assembly import LaptopOptions, laptop
from longcall.settings import Settings
from longcall.telemetry import set_up_silence

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Target(asyncio.Protocol):
    """Answers every request at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """One answer for each request's head."""
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined] # a socket's transport can write


async def timed(count: int, at_once: int, one: Callable[[int], Awaitable[None]]) -> tuple[float, list[float]]:
    """Do `count` things, `at_once` at a time; seconds in all, and each one's seconds in order."""
    took: list[float] = []
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            start = time.perf_counter()
            await one(number)
            took.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - start, sorted(took)


def row(name: str, count: int, seconds: float, took: list[float]) -> None:
    """One line of the table."""
    half, most = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
    print(f"{name:<34} {count / seconds:>9.0f} /s   p50 {half:>7.2f} ms   p99 {most:>7.2f} ms")


async def main(count: int, at_once: int) -> None:
    """Both, one after the other."""
    set_up_silence()
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connector = aiohttp.TCPConnector(limit=0)
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        async with (
            laptop(LaptopOptions(0, 0, 0, Path(folder), Settings(create_rate=1_000_000))) as stack,
            aiohttp.ClientSession(connector=connector) as http,
        ):

            async def direct(_: int) -> None:
                async with http.post(url) as answer:
                    await answer.read()

            async def through(number: int) -> None:
                async with http.post(f"{stack.api_url}/v1/tasks", json={"id": f"b{number}", "httpRequest": {"url": url}}) as answer:
                    await answer.read()
                async with http.get(f"{stack.api_url}/v1/tasks/b{number}?wait=60s") as answer:
                    assert b'"SUCCEEDED"' in await answer.read()  # noqa: S101 — a bench that measured failures would lie

            print(f"{count} short calls, {at_once} at once; a target that answers at once; SQLite with full fsync, {Path(folder).parent}\n")
            row("directly, by aiohttp (baseline)", count, *await timed(count, at_once, direct))
            row("submit, call, settle, wait", count, *await timed(count, at_once, through))
            alone = max(count // 10, 10)
            row("  the same, one after the other", alone, *await timed(alone, 1, lambda number: through(count + number)))
    server.close()


if __name__ == "__main__":
    uvloop.run(main(*(int(text) for text in (sys.argv[1:] + ["2000", "64"][len(sys.argv) - 1 :]))))
