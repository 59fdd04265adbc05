"""Short tasks through one runner on one core, from dispatch to settled, beside nginx `proxy_pass` and a plain relay in the same run.

    .venv/bin/python bench/relay.py [--seconds 5] [--rounds 5] [--store sqlite postgres] [--json FILE]

The runner has the first core for itself, with its threads. wrk, the target (nginx, which answers at once) and PostgreSQL have another.
The load is the queue's part: it delivers messages of version 1, whose records are written before, as `POST /v1/tasks` writes them, or are
made by their first dispatch. Tasks that were answered are looked up in the store afterwards. nginx and wrk must be installed.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from calling import quantile, wait_until
from processes import SECRET, Running, free_port, open_files, queue, runner, started, target
from table import ROOT, Bound, Figure, Table, arguments, at_least, median_of

sys.path.insert(0, str(ROOT))  # where a PostgreSQL is, the tests know

from longcall.core import lifecycle
from longcall.core.messages import TaskMessage, message_to_json
from longcall.core.task import HttpRequest, State, TaskSpec
from longcall.core.wire import spec_to_json
from longcall.stores import open_store
from tests.google import answers
from tests.postgres import running as postgres

AT_ONCE = 64
HELD, DISPATCHES = 5_000, 500
SLICE = 500
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
A_SECOND = {"sqlite": 3_000, "postgres": 2_000}
NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder}; keepalive_requests 1000000000;
  {server}
}}
"""
TARGET = "server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ return 200 'ok'; }} }}"
PROXY = """
upstream target {{ server 127.0.0.1:{target}; keepalive 128; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{port} backlog=2048;
  location / {{ proxy_pass http://target; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""
WRK = """
local n, head, tail = {first}, [[{head}]], [[{tail}]]
local headers = {{["Content-Type"] = "application/json", ["Longcall-Queue-Secret"] = "{secret}"}}
request = function()
  n = n + 1
  return wrk.format("POST", "{path}", headers, head .. n .. tail)
end
done = function(summary, latency, requests)
  local wrong = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.stderr:write(string.format('{{"requests": %d, "seconds": %f, "wrong": %d}}', summary.requests, summary.duration / 1e6, wrong))
end
"""
POST = (
    "POST {path} HTTP/1.1\r\nHost: x\r\nLongcall-Queue-Secret: {secret}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk found. `processor` is what the server used for a request, in milliseconds."""

    requests: int
    seconds: float
    wrong: int
    processor: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Server:
    """What is measured: where it listens, and its process."""

    port: int
    pid: int
    path: str = "/dispatch"

    def processor(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Bench:
    """One run. `mine` is the core of what is measured, `theirs` that of everybody else."""

    folder: Path
    seconds: int
    rounds: int
    mine: int
    theirs: int
    target: int
    table: Table

    @property
    def url(self) -> str:
        """The target."""
        return f"http://127.0.0.1:{self.target}/"

    async def load(self, server: Server, first: int) -> Load:
        """Deliver messages as fast as they are answered; the first is numbered `first` + 1."""
        head, _, tail = message(self.url).partition("NUMBER")
        script = self.folder / "load.lua"
        script.write_text(WRK.format(first=first, head=head, tail=tail, secret=SECRET, path=server.path))
        before = server.processor()
        command = ["wrk", "-t1", f"-c{AT_ONCE}", f"-d{self.seconds}s", "-s", str(script), f"http://127.0.0.1:{server.port}"]
        with on(self.theirs):
            wrk = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        found = json.loads((await wrk.communicate())[1])
        return Load(**found, processor=(server.processor() - before) * 1000 / max(found["requests"], 1))

    async def rounds_of(self, server: Server, first: int, prepare: Callable[[int, int], Awaitable[None]]) -> tuple[list[Load], int]:
        """Warm up, then load it so many times; `prepare` is told which numbers come next. Also the first number not used."""
        warm = await self.load(server, first)
        first, most, found = first + warm.requests + AT_ONCE, int(warm.rate * self.seconds * 2) + SLICE, list[Load]()
        for _ in range(self.rounds):
            await prepare(first, most)
            found.append(await self.load(server, first))
            first += max(most, found[-1].requests + AT_ONCE)
        return found, first

    async def latencies(self, server: Server, rate: float, first: int) -> list[float]:
        """Milliseconds of each delivery at this rate, in order."""
        return await paced(server, message(self.url), first, rate, self.seconds)


@contextmanager
def on(core: int) -> Iterator[None]:
    """What is started within has this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def message(url: str) -> str:
    """The body of the first message of a task, NUMBER in its id."""
    return json.dumps(message_to_json(TaskMessage("bNUMBER", CREATED, 1, CREATED, spec_to_json(TaskSpec(HttpRequest(url))))))


async def written(store: str, url: str, first: int, count: int) -> None:
    """Write the records of so many tasks."""
    async with open_store(store, lambda: CREATED) as to:
        spec = TaskSpec(HttpRequest(url))
        for numbers in slices(first, count):
            made = [lifecycle.create(f"b{number}", spec, queue="q", trace="0" * 32, now=CREATED) for number in numbers]
            await asyncio.gather(*(to.insert(task) for task in made))


async def settled(store: str, first: int, count: int) -> int:
    """How many of them have SUCCEEDED."""
    async with open_store(store, lambda: CREATED) as to:
        found = [await asyncio.gather(*(to.get(f"b{number}") for number in numbers)) for numbers in slices(first, count)]
    return sum(one is not None and one.task.state is State.SUCCEEDED for each in found for one in each)


def slices(first: int, count: int) -> list[range]:
    """The numbers of so many tasks, some at a time."""
    return [range(start, min(start + SLICE, first + count + 1)) for start in range(first + 1, first + count + 1, SLICE)]


async def sent(server: Server, said: str) -> asyncio.StreamWriter:
    """Deliver a message on a connection of its own, and do not wait for the answer."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write((POST.format(path=server.path, secret=SECRET, size=len(said)) + said).encode())
    return writer


async def paced(server: Server, body: str, first: int, rate: float, seconds: float) -> list[float]:
    """Deliver so many messages a second, whatever the answers take: milliseconds from when each was due, in order."""
    numbers, took, start = iter(range(int(rate * seconds))), list[float](), time.perf_counter()

    async def sender() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for number in numbers:
            due = start + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            said = body.replace("NUMBER", str(first + number + 1))
            writer.write((POST.format(path=server.path, secret=SECRET, size=len(said)) + said).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head  # noqa: S101 — a bench that measured failures would lie
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
            took.append((time.perf_counter() - due) * 1000)
        writer.close()

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return sorted(took)


# What is measured


@asynccontextmanager
async def nginx(bench: Bench, core: int, port: int, server: str) -> AsyncIterator[Server]:
    """An nginx with one worker."""
    folder = bench.folder / f"nginx-{port}"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, server=server))
    with on(core):
        master = await asyncio.create_subprocess_exec("nginx", "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log"))
    try:
        await listening(port)
        yield Server(port, worker_of(master.pid))
    finally:
        master.terminate()
        await master.wait()


def worker_of(pid: int) -> int:
    """The only child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def listening(port: int) -> None:
    """Wait until somebody listens there."""
    assert await wait_until(lambda: answers(port), 10)  # noqa: S101 — there is nothing to measure


@asynccontextmanager
async def ours(bench: Bench, store: str, delivering: Running, **settings: str) -> AsyncIterator[Server]:
    """A runner over this store."""
    known = {"STORE": store, "BODIES": f"file://{bench.folder}/bodies", "LOG_FORMAT": "json"}
    with on(bench.mine):
        starting = runner(bench.folder, delivering, known | settings)
        running = await starting.__aenter__()
    try:
        yield Server(int(running.ready["api"].rpartition(":")[2]), running.pid)
    finally:
        await starting.__aexit__(None, None, None)


# The rows


def rate_of(loads: Sequence[Load]) -> Figure:
    """Requests a second; what was not answered with 200 is said."""
    wrong = sum(each.wrong for each in loads)
    return median_of([each.rate for each in loads], "/s", f"{wrong} failed" if wrong else "")


def at(latencies: Sequence[float], part: float) -> Figure:
    """A quantile, in milliseconds."""
    return Figure(quantile(latencies, part), "ms")


async def nothing(_: int, __: int) -> None:
    """Relays need no records."""


async def measured(bench: Bench, store: str, url: str, delivering: Running, proxy: tuple[Server, Figure]) -> None:
    """The rows of a runner over one store, beside nginx."""
    name, table, (other, best) = NAMES[store], bench.table, proxy
    async with ours(bench, url, delivering) as server:

        async def prepare(first: int, count: int) -> None:
            await written(url, bench.url, first, count)

        loads, first = await bench.rounds_of(server, 0, prepare)
        found = rate_of(loads)
        table.row(f"{name}: tasks a second", found, best, at_least(A_SECOND[store], "/s"))
        of_nginx = Figure(found.value / best.value * 100, "%")
        table.row(f"{name}: of nginx", of_nginx, None, Bound("at least", 100 / 12, "%") if store == "sqlite" else None)
        table.row(f"{name}: processor a task", median_of([each.processor for each in loads], "ms"))
        half = found.value / 2
        await prepare(first, int(half * bench.seconds))
        mine, theirs = await bench.latencies(server, half, first), await bench.latencies(other, half, first)
        for quantile in (50, 99, 99.9):
            table.row(f"{name}: p{quantile} at half of that", at(mine, quantile / 100), at(theirs, quantile / 100))
        kept = await settled(url, first, len(mine))
        table.row(f"{name}: of these not SUCCEEDED in the store", Figure(len(mine) - kept, ""), None, Bound("at most", 0, ""))
        loads, _ = await bench.rounds_of(server, first + len(mine), nothing)
        table.row(f"{name}: tasks a second, records made by their dispatch", rate_of(loads), best)


async def beside_running_calls(bench: Bench, held: int, url: str, delivering: Running) -> None:
    """A whole queue's quota, beside calls that run on."""
    table, room = bench.table, str(held * 2)
    async with target(bench.folder) as silent, ours(bench, url, delivering, MAX_CALLS=room) as server:
        await silent.ask("hold")
        running = [await sent(server, message(silent.ready["url"]).replace("bNUMBER", f"h{number}")) for number in range(held)]

        async def all_held() -> bool:
            return bool((await silent.ask("count"))["held"] >= held)

        assert await wait_until(all_held, 30)  # noqa: S101 — there is nothing to measure
        before, start = server.processor(), time.perf_counter()
        took = await bench.latencies(server, DISPATCHES, 0)
        seconds = time.perf_counter() - start
        share = (server.processor() - before) / seconds * 100
        beside = f"beside {held:,} running calls"
        table.row(f"SQLite, {beside}: tasks a second", Figure(len(took) / seconds, "/s"), None, at_least(DISPATCHES * 0.99, "/s"))
        table.row(f"SQLite, {beside}: processor", Figure(share, "% of a core"))
        for quantile in (50, 99, 99.9):
            table.row(f"SQLite, {beside}: p{quantile}", at(took, quantile / 100))
        await silent.ask("answer 1")
        for each in running:
            each.close()


async def main(options: argparse.Namespace) -> None:
    """All of it, one after the other."""
    open_files()
    cores = sorted(os.sched_getaffinity(0))
    table = Table("Short tasks through one runner on one core", ("aiohttp", "uvicorn", "uvloop", "httpx2", "fastapi"))
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as name:
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            bench = Bench(Path(name), options.seconds, options.rounds, cores[0], cores[-1], free_port(), table)
            await enter(nginx(bench, bench.theirs, bench.target, TARGET.format(port=bench.target)))
            with on(bench.theirs):
                delivering = await enter(queue(bench.folder, "http://127.0.0.1:9"))  # its tasks are not what is measured
            port = free_port()
            proxy = await enter(nginx(bench, bench.mine, port, PROXY.format(port=port, target=bench.target)))
            best = rate_of((await bench.rounds_of(proxy, 0, nothing))[0])
            table.row("nginx proxy_pass: requests a second", None, best)
            with on(bench.mine):
                relay = await enter(started(bench.folder / "plain.log", str(ROOT / "bench" / "plain.py"), bench.url))
            for path, what in (("/threads", "requests in threads"), ("/client", "httpx2.AsyncClient")):
                plain = Server(int(relay.ready["url"].rpartition(":")[2]), relay.pid, path)
                table.row(f"FastAPI, {what}: requests a second", None, rate_of((await bench.rounds_of(plain, 0, nothing))[0]))
            await relay.kill()
            for store in options.store:
                await measured(bench, store, await database(stack, bench, store), delivering, (proxy, best))
            await beside_running_calls(bench, options.held, f"sqlite:///{bench.folder / 'held.db'}", delivering)
    table.note("Beside the figures of SQLite and PostgreSQL stand those of nginx. Both stores have what they answer on the disk.")
    table.show(options)


async def database(stack: AsyncExitStack, bench: Bench, store: str) -> str:
    """Where the records are. PostgreSQL is as it comes, but for its port."""
    if store == "sqlite":
        return f"sqlite:///{bench.folder / 'bench.db'}"
    with on(bench.theirs):
        server = await asyncio.to_thread(stack.enter_context, contextmanager(postgres)("listen_addresses = '127.0.0.1'\n"))
    await server.do("CREATE DATABASE bench TEMPLATE longcall_template")
    return server.url("bench")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--held", type=int, default=HELD, help="calls that run on beside a queue's whole rate")
    parser.add_argument("--store", nargs="+", choices=list(NAMES), default=list(NAMES))
    asked = parser.parse_args()
    if asked.smallest:
        asked.seconds, asked.rounds, asked.held = 1, 1, 50
    if missing := [name for name in ("nginx", "wrk") if shutil.which(name) is None]:
        raise SystemExit(f"install {' and '.join(missing)} first: the baseline needs them")
    uvloop.run(main(asked))
