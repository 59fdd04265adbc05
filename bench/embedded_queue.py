"""The embedded queue, beside another emulator from PyPI in the same run.

    .venv/bin/python bench/embedded_queue.py [--tasks 8000] [--at-once 128] [--waiting 0] [--baseline PYTHON]

Each queue is a process of its own, and so is its load. `--baseline` names a Python that has gcloud-tasks-emulator installed:
it asks for another protobuf than ours, so the two can't share an environment. `--waiting 1000000` puts that many tasks, due in
20 days, into the queue's file before its start, and measures once more beside them.
"""

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import uvloop
from google.cloud import tasks_v2
from google.protobuf.timestamp_pb2 import Timestamp

from longcall.queue import roster, rows, schema
from longcall.queue.model import AppEngineTarget
from longcall.queue.own import own_queues

LOCATION = "projects/longcall/locations/local"
WIDE, LIMITED = f"{LOCATION}/queues/default", f"{LOCATION}/queues/limited"
SERVICE = "/google.cloud.tasks.v2.CloudTasks/"
TASK, CREATE = tasks_v2.Task.pb(), tasks_v2.CreateTaskRequest.pb()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Arrivals:
    """When requests came to the target, by the clock and by the name of their task."""

    times: list[float] = field(default_factory=list[float])
    late: list[float] = field(default_factory=list[float])
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def protocol(self) -> asyncio.Protocol:
        """Serve one connection."""
        return _Target(self)

    async def count(self, wanted: int) -> None:
        """Wait until so many have come."""
        while len(self.times) < wanted:
            self.more.clear()
            await self.more.wait()


class _Target(asyncio.Protocol):
    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer at once; the ETA header says when the request was due."""
        now = time.time()  # noqa: TID251 — beside the due time, which the other process has from the same clock
        for head in data.split(b"\r\n\r\n")[:-1]:
            due = head.partition(b"TaskETA: ")[2].partition(b"\r\n")[0]
            self._arrivals.times.append(now)
            self._arrivals.late.append(now - float(due or now))
            self._transport.write(ANSWER)  # type: ignore[union-attr] # connected
        self._arrivals.more.set()


class Client:
    """The calls that are measured, without the wrappers of Google's client, which cost more than the calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._create = channel.unary_unary(f"{SERVICE}CreateTask", CREATE.SerializeToString, TASK.FromString)

    async def call(self, method: str, **fields: str) -> None:
        """Call a method that takes a name."""
        request = getattr(tasks_v2, f"{method}Request").pb()(**fields)
        await self._channel.unary_unary(f"{SERVICE}{method}", type(request).SerializeToString, lambda data: data)(request)

    async def create(self, queue: str, due: float | None, body: bytes = b"{}") -> None:
        """Create an App Engine task."""
        task = TASK(app_engine_http_request={"relative_uri": "/", "body": body})
        if due is not None:
            task.schedule_time.CopyFrom(Timestamp(seconds=int(due), nanos=int(due % 1 * 1e9)))
        await self._create(CREATE(parent=queue, task=task))


async def at_once(count: int, width: int, one: Callable[[int], Awaitable[None]]) -> float:
    """Do `count` things, `width` at a time; return the seconds."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await one(number)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(width)))
    return time.perf_counter() - start


def row(what: str, value: str) -> None:
    """One line of the table."""
    print(f"{what:<58} {value:>34}", flush=True)


@dataclass(frozen=True)
class Running:
    """A queue's process and a client of it."""

    process: asyncio.subprocess.Process
    client: Client

    def memory(self) -> int:
        """Return its resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@asynccontextmanager
async def connected(port: int, process: asyncio.subprocess.Process) -> AsyncIterator[Running]:
    """Give the running process; end it at the end."""
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            async with asyncio.timeout(120):
                await channel.channel_ready()
            yield Running(process, Client(channel))
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def ours(target: str, data: Path | None) -> AsyncIterator[Running]:
    """Run `longcall queue`, durable or in memory."""
    kept = ("--memory",) if data is None else ("--data", str(data))
    arguments = ("queue", "--grpc-port", "0", "--rest-port", "0", *kept, "--app-engine", target, "--queue", LIMITED, "--json")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "longcall", *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101 — asked for above
    ready = json.loads(await process.stdout.readline())
    async with connected(int(ready["grpc"].rpartition(":")[2]), process) as running:
        yield running


@asynccontextmanager
async def another(python: str, target: str) -> AsyncIterator[Running]:
    """Run gcloud-tasks-emulator, which keeps everything in memory."""
    port = free_port()
    arguments = ("-m", "gcloud_tasks_emulator", "start", "-q", "-p", str(port), "-H", "127.0.0.1", "-d", WIDE)
    process = await asyncio.create_subprocess_exec(
        python, *arguments, "-t", target.rpartition(":")[2], stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    async with connected(port, process) as running:
        yield running


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


async def creates(name: str, running: Running, count: int, width: int) -> None:
    """Create tasks that wait."""
    due = time.time() + 20 * 86_400  # noqa: TID251 — a time for the other process
    before = cpu_seconds(running)
    seconds = await at_once(count, width, lambda _: running.client.create(WIDE, due))
    used = cpu_seconds(running) - before
    row(f"{name}: creates, {width} at once", f"{count / seconds:,.0f}/s, {count / used:,.0f} a CPU second")


def cpu_seconds(running: Running) -> float:
    """Return what the process has used of the processor."""
    values = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / 100


async def dispatches(name: str, running: Running, arrivals: Arrivals, count: int, width: int) -> None:
    """Let a queue go that has tasks waiting."""
    await running.client.call("PauseQueue", name=WIDE)
    await at_once(count, width, lambda _: running.client.create(WIDE, None))
    arrivals.times.clear()
    before = cpu_seconds(running)
    start = time.time()  # noqa: TID251 — as the arrivals
    await running.client.call("ResumeQueue", name=WIDE)
    try:
        async with asyncio.timeout(60):
            await arrivals.count(count)
    except TimeoutError:
        row(f"{name}: dispatches", f"{len(arrivals.times) / 60:,.0f}/s (stopped after 60 s)")
        return
    used = max(cpu_seconds(running) - before, 0.01)
    row(f"{name}: dispatches", f"{count / (arrivals.times[-1] - start):,.0f}/s, {count / used:,.0f} a CPU second")


async def the_rate(running: Running, arrivals: Arrivals, width: int) -> None:
    """See how a limit of 500/s is met once the burst is over."""
    await running.client.call("PauseQueue", name=LIMITED)
    await at_once(3100, width, lambda _: running.client.create(LIMITED, None))
    arrivals.times.clear()
    await running.client.call("ResumeQueue", name=LIMITED)
    await arrivals.count(3100)
    rate = 2500 / (arrivals.times[-1] - arrivals.times[-2501])
    row("ours: a limit of 500/s, over 2,500 tasks", f"{rate:,.1f}/s, {(rate / 500 - 1) * 100:+.2f} %")


async def the_times(what: str, running: Running, arrivals: Arrivals, width: int) -> None:
    """See how late tasks are that are due at some time of the next seconds."""
    arrivals.times.clear()
    arrivals.late.clear()
    start = time.time() + 2  # noqa: TID251 — a time for the other process
    await at_once(500, width, lambda number: running.client.create(WIDE, start + number / 100))
    await arrivals.count(500)
    late = sorted(arrivals.late)
    row(what, f"p50 {statistics.median(late) * 1000:.1f} ms, p99 {late[494] * 1000:.1f} ms late")


def fill(data: Path, count: int) -> None:
    """Put waiting tasks into the file of a queue that is not running."""
    insert = "INSERT INTO task (queue, id, target, body, schedule, created) VALUES (?, ?, ?, ?, ?, ?)"
    now = datetime.now(UTC)  # noqa: TID251 — a time for the other process
    target, due, created = rows.target_text(AppEngineTarget()), rows.micros(now + timedelta(days=20)), rows.micros(now)
    data.mkdir()
    with closing(schema.connect(data / "queue.db")) as connection:
        number = roster.insert(connection, *own_queues(WIDE)).number
        connection.execute("BEGIN")
        connection.executemany(
            insert, ((number, f"{each * 2654435761 % 2**32:08x}", target, b"{}", due + each, created) for each in range(count))
        )
        connection.execute("COMMIT")


async def main(options: argparse.Namespace) -> None:
    """One after the other."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(arrivals.protocol, "127.0.0.1", 0)
    target = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    count, width = options.tasks, options.at_once
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as folder:
        if options.baseline:
            async with another(options.baseline, target) as running:
                await creates("gcloud-tasks-emulator, in memory", running, count, width)
            async with another(options.baseline, target) as running:
                await dispatches("gcloud-tasks-emulator, in memory", running, arrivals, min(count, 1000), width)
        async with ours(target, None) as running:
            await creates("ours, in memory", running, count, width)
        async with ours(target, Path(folder)) as running:
            await creates("ours, durable", running, count, width)
            await dispatches("ours, durable", running, arrivals, count, width)
            await the_rate(running, arrivals, width)
            await the_times("ours: tasks due at a given time", running, arrivals, width)
        if options.waiting:
            await beside_many(target, Path(folder) / "many", arrivals, options)
    server.close()


async def beside_many(target: str, data: Path, arrivals: Arrivals, options: argparse.Namespace) -> None:
    """Measure the same with many tasks waiting."""
    fill(data, options.waiting)
    start = time.perf_counter()
    async with ours(target, data) as running:
        row(f"ours: start with {options.waiting:,} tasks waiting", f"{time.perf_counter() - start:.1f} s, {running.memory():,} MiB")
        await dispatches("  dispatches beside them", running, arrivals, options.tasks, options.at_once)
        await the_times("  tasks due at a given time, beside them", running, arrivals, options.at_once)
        row("  memory after that", f"{running.memory():,} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=8000)
    parser.add_argument("--at-once", type=int, default=128)
    parser.add_argument("--waiting", type=int, default=0)
    parser.add_argument("--baseline", default="")
    uvloop.run(main(parser.parse_args()))
