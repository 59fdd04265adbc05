"""Short tasks through one runner on one core, from dispatch to settled, beside nginx `proxy_pass` and a plain relay in the same run.

    .venv/bin/python bench/relay.py [--seconds 5] [--rounds 3] [--store sqlite] [--store postgres]

The runner has the first core for itself, with its threads. wrk, the target (nginx, which answers at once) and PostgreSQL have the others.
A load here is the queue: it delivers messages of version 1, whose records are written before, as `POST /v1/tasks` writes them, or are made
by their first dispatch. Every task that was answered is looked up in the store afterwards. nginx and wrk must be installed.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # where a PostgreSQL is, the tests know

from longcall.core import lifecycle
from longcall.core.messages import TaskMessage, message_to_json
from longcall.core.task import HttpRequest, State, TaskSpec
from longcall.core.wire import spec_to_json
from longcall.stores import open_store
from tests.google import free_port
from tests.postgres import running

SECRET = "the-bench"  # noqa: S105 — for as long as it runs
AT_ONCE = 64
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
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
PLAIN = """
import sys
import httpx2, uvicorn
from fastapi import FastAPI, Request
app, http = FastAPI(), httpx2.AsyncClient()
@app.post("/dispatch")
async def relay(request: Request):
    asked = (await request.json())["create"]["httpRequest"]
    answer = await http.request(asked["httpMethod"], asked["url"])
    return {"status": answer.status_code}
uvicorn.run(app, port=int(sys.argv[1]), log_level="critical")
"""
WRK = """
local n, first, head, tail = 0, %d, [[%s]], [[%s]]
request = function()
  n = n + 1
  return wrk.format("POST", "/dispatch", {["Content-Type"] = "application/json", ["Longcall-Queue-Secret"] = "%s"}, head .. (first + n) .. tail)
end
done = function(summary, latency, requests)
  io.stderr:write(string.format('{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "p999": %%f, "wrong": %%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk found. Latencies in milliseconds; `processor` in milliseconds of the server's a request."""

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    wrong: int
    processor: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@contextmanager
def process(core: int, *command: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has one core, and ends with the block."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("LONGCALL_")}  # noqa: TID251 — a child needs it
    child = subprocess.Popen(command, env=known | environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    os.sched_setaffinity(child.pid, {core})
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def wait_for(port: int) -> None:
    """Until somebody listens there."""
    for _ in range(200):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on {port}")


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, pid: int, seconds: int, first: int, message: str, folder: Path, core: int, at_once: int = AT_ONCE) -> Load:
    """Deliver messages, numbered from `first`, as fast as they are answered."""
    head, _, tail = message.partition("NUMBER")
    script = folder / "load.lua"
    script.write_text(WRK % (first, head, tail, SECRET))
    before = processor(pid)
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{at_once}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = json.loads(said)
    return Load(**found, processor=(processor(pid) - before) * 1000 / max(found["requests"], 1))


def message(url: str) -> str:
    """The body of the first message of a task, NUMBER in its id."""
    spec = TaskSpec(HttpRequest(url))
    return json.dumps(message_to_json(TaskMessage("bNUMBER", CREATED, 1, CREATED, spec_to_json(spec))), separators=(",", ":"))


async def written(store: str, url: str, first: int, count: int) -> None:
    """Write the records of so many tasks."""
    async with open_store(store, lambda: datetime.now(UTC)) as to:
        spec = TaskSpec(HttpRequest(url))
        for start in range(first + 1, first + count + 1, 500):
            made = (
                lifecycle.create(f"b{number}", spec, queue="q", trace="0" * 32, now=CREATED)
                for number in range(start, min(start + 500, first + count + 1))
            )
            await asyncio.gather(*(to.insert(task) for task in made))


async def settled(store: str, first: int, count: int) -> int:
    """How many of them have SUCCEEDED."""
    async with open_store(store, lambda: datetime.now(UTC)) as to:
        found = 0
        for start in range(first + 1, first + count + 1, 500):
            each = await asyncio.gather(*(to.get(f"b{number}") for number in range(start, min(start + 500, first + count + 1))))
            found += sum(one is not None and one.task.state is State.SUCCEEDED for one in each)
        return found


async def paced(port: int, message: str, first: int, rate: float, seconds: float) -> list[float]:
    """Deliver so many messages a second, whatever the answers take: milliseconds from the moment each was due, in order."""
    numbers, took, start = iter(range(int(rate * seconds))), list[float](), time.perf_counter()

    async def sender() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            due = start + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            body = message.replace("NUMBER", str(first + number + 1))
            head = f"POST /dispatch HTTP/1.1\r\nHost: x\r\nLongcall-Queue-Secret: {SECRET}\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            took.append((time.perf_counter() - due) * 1000)
        writer.close()

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return sorted(took)


@dataclass(frozen=True)
class Bench:
    """One run: where things are, and how long each load is."""

    folder: Path
    seconds: int
    rounds: int
    mine: int  # the core of what is measured
    theirs: int
    target: int

    @property
    def message(self) -> str:
        """What is delivered."""
        return message(f"http://127.0.0.1:{self.target}/")

    def rounds_of(self, port: int, pid: int, before: Callable[[int, int], None] | None = None, first: int = 0) -> tuple[list[Load], int]:
        """Warm up, then load it so many times; `before` is told which numbers come next. Also the first number not used."""
        warm = load(port, pid, max(self.seconds // 2, 1), first, self.message, self.folder, self.theirs)
        first, most, found = first + warm.requests + AT_ONCE, int(warm.rate * self.seconds * 1.5) + 500, list[Load]()
        for _ in range(self.rounds):
            if before is not None:
                before(first, most)
            found.append(load(port, pid, self.seconds, first, self.message, self.folder, self.theirs))
            first += max(most, found[-1].requests + AT_ONCE)
        return found, first

    def latency(self, port: int, rate: float, first: int) -> list[float]:
        """Milliseconds of each delivery at this rate."""
        return uvloop.run(paced(port, self.message, first, rate, self.seconds))


def row(name: str, loads: list[Load], half: list[float]) -> None:
    """One line of the table."""
    rates = sorted(each.rate for each in loads)
    wrong = sum(each.wrong for each in loads)
    at = " ".join(f"{half[int(len(half) * part)]:>7.2f}" for part in (0.5, 0.99, 0.999))
    print(
        f"{name:<44} {median(rates):>7.0f} /s ({rates[0]:.0f} to {rates[-1]:.0f})  {median(each.processor for each in loads):>6.3f} ms"
        f"  half load {at} ms" + (f"  {wrong} WRONG" if wrong else "")
    )


@contextmanager
def nginx(bench: Bench, core: int, port: int, server: str) -> Iterator[int]:
    """An nginx with one worker on this port; the worker's process id."""
    folder = bench.folder / f"nginx-{port}"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, server=server))
    with process(core, "nginx", "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")) as master:
        wait_for(port)
        yield int(Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()[0])


@contextmanager
def plain(bench: Bench) -> Iterator[tuple[int, int]]:
    """The plain relay: its port and process id."""
    port = free_port()
    with process(bench.mine, sys.executable, "-c", PLAIN, str(port)) as child:
        wait_for(port)
        yield port, child.pid


@contextmanager
def runner(bench: Bench, store: str, queue: str) -> Iterator[tuple[int, int]]:
    """A runner over this store: its port and process id."""
    settings = {
        "STORE": store,
        "BODIES": f"file://{bench.folder}/bodies",
        "QUEUE_ENDPOINT": queue,
        "QUEUE_SECRET": SECRET,
        "ALLOW_PRIVATE_TARGETS": "true",
        "LOG_FORMAT": "json",
    }
    environ = {f"LONGCALL_{name}": value for name, value in settings.items()}
    with process(bench.mine, sys.executable, "-m", "longcall", "runner", "--port", "0", "--json", **environ) as child:
        assert child.stdout is not None  # noqa: S101 — it is a pipe
        port = int(json.loads(child.stdout.readline())["api"].rpartition(":")[2])
        wait_for(port)
        yield port, child.pid


def ours(bench: Bench, name: str, store: str, queue: str) -> None:
    """The rows of a runner over one store."""
    url = f"http://127.0.0.1:{bench.target}/"

    def write(first: int, count: int) -> None:
        uvloop.run(written(store, url, first, count))

    with runner(bench, store, queue) as (port, pid):
        loads, first = bench.rounds_of(port, pid, write)
        rate = median(each.rate for each in loads) / 2
        write(first, int(rate * bench.seconds))
        half = bench.latency(port, rate, first)
        row(f"longcall, {name}", loads, half)
        kept = uvloop.run(settled(store, first, len(half)))
        print(f"{'':<44} of the {len(half)} at half load {kept} have SUCCEEDED in the store")
        loads, _ = bench.rounds_of(port, pid, first=first + len(half))
        row("  the record made by the dispatch", loads, half)


def relayed(bench: Bench, name: str, port: int, pid: int) -> None:
    """The row of what only relays."""
    loads, first = bench.rounds_of(port, pid)
    row(name, loads, bench.latency(port, median(each.rate for each in loads) / 2, first))


def main(seconds: int, rounds: int, stores: list[str]) -> None:
    """All of it, one after the other."""
    if missing := [name for name in ("nginx", "wrk") if shutil.which(name) is None]:
        raise SystemExit(f"install {' and '.join(missing)} first: the baseline needs them")
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longcall-bench-")))
        bench = Bench(folder, seconds, rounds, cores[0], cores[-1], free_port())
        stack.enter_context(nginx(bench, bench.theirs, bench.target, TARGET.format(port=bench.target)))
        queue = stack.enter_context(
            process(bench.theirs, sys.executable, "-m", "longcall", "queue", "--memory", "--grpc-port", "0", "--rest-port", "0", "--json")
        )
        assert queue.stdout is not None  # noqa: S101 — it is a pipe
        rest = json.loads(queue.stdout.readline())["rest"]
        print(f"{AT_ONCE} at once, {rounds} rounds of {seconds} s; a second, processor a task, and p50, p99, p99.9 at half of that rate\n")
        port = free_port()
        with nginx(bench, bench.mine, port, PROXY.format(port=port, target=bench.target)) as pid:
            relayed(bench, "nginx proxy_pass (baseline)", port, pid)
        with plain(bench) as (port, pid):
            relayed(bench, "FastAPI and httpx2 (baseline)", port, pid)
        if "sqlite" in stores:
            ours(bench, "SQLite, full fsync", f"sqlite:///{folder / 'bench.db'}", rest)
        if "postgres" in stores:
            server = stack.enter_context(contextmanager(running)("max_connections = 100\nlisten_addresses = '127.0.0.1'\n"))
            uvloop.run(server.do("CREATE DATABASE bench TEMPLATE longcall_template"))
            ours(bench, "PostgreSQL, full fsync", server.url("bench"), rest)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", action="append", choices=["sqlite", "postgres"])
    asked = parser.parse_args()
    main(asked.seconds, asked.rounds, asked.store or ["sqlite", "postgres"])
