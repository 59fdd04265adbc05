"""The embedded queue: tasks created over gRPC, dispatched, at their rate and at their time; also beside a million that wait.

    .venv/bin/python bench/embedded_queue.py [--tasks 8000] [--at-once 128] [--rounds 3] [--waiting 1000000] [--baseline PYTHON]

Each queue is a process of its own, and so is its load. `--baseline` names a Python that has gcloud-tasks-emulator installed, which keeps
everything in memory: it asks for another protobuf than ours, so the two can't share an environment. The tasks that wait, due in 20 days,
are put into the queue's file before its start.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import uvloop
from calling import quantile, timed
from google.cloud import tasks_v2
from google.protobuf.timestamp_pb2 import Timestamp
from processes import Running, free_port, longcall
from table import Figure, Table, arguments, at_least, median_of

from longcall.queue import roster, rows, schema
from longcall.queue.model import AppEngineTarget
from longcall.queue.own import own_queues

LOCATION = "projects/longcall/locations/local"
WIDE, LIMITED = f"{LOCATION}/queues/default", f"{LOCATION}/queues/limited"
SERVICE = "/google.cloud.tasks.v2.CloudTasks/"
TASK, CREATE = tasks_v2.Task.pb(), tasks_v2.CreateTaskRequest.pb()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CREATES, DISPATCHES = 4_000, 2_000  # a second
LIMIT, BURST = 500, 600  # dispatches a second of the limited queue; how many tasks are left out before its rate is measured
PATIENCE = 120.0


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `limited` are tasks of the limited queue, `due` those that are due a hundred a second."""

    tasks: int
    at_once: int
    rounds: int
    waiting: int
    limited: int = 2_500
    due: int = 500


@dataclass
class Arrivals:
    """When requests came to the target: by the clock, and how many seconds after they were due."""

    url: str = ""
    times: list[float] = field(default_factory=list[float])
    late: list[float] = field(default_factory=list[float])
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def protocol(self) -> asyncio.Protocol:
        """Serve one connection."""
        return _Target(self)

    def forget(self) -> None:
        """Begin anew."""
        self.times.clear()
        self.late.clear()

    async def rate_of(self, wanted: int, start: float) -> float:
        """Wait until so many have come: how many that was a second since `start`. After two minutes, what had come by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while len(self.times) < wanted:
                    self.more.clear()
                    await self.more.wait()
        return len(self.times) / ((self.times[-1] if len(self.times) >= wanted else time.time()) - start)  # noqa: TID251 — as the arrivals


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


@dataclass(frozen=True)
class Bench:
    """A queue's process, a client of it, and the target."""

    running: Running
    client: Client
    arrivals: Arrivals
    sizes: Sizes

    async def many(self, count: int, queue: str, due: float | None = None) -> float:
        """Create so many tasks; the seconds it took."""
        seconds, _ = await timed(count, self.sizes.at_once, lambda _: self.client.create(queue, due))
        return seconds

    async def creates(self) -> Figure:
        """Create tasks that wait."""
        due = time.time() + 20 * 86_400  # noqa: TID251 — a time for the other process
        count, before = self.sizes.tasks, self.running.cpu()
        found = [count / await self.many(count, WIDE, due) for _ in range(self.sizes.rounds)]
        return self._a_second(found, before, count)

    async def dispatches(self) -> Figure:
        """Let a queue go that has tasks waiting."""
        found, count = list[float](), self.sizes.tasks
        used = 0.0
        for _ in range(self.sizes.rounds):
            await self.client.call("PauseQueue", name=WIDE)
            await self.many(count, WIDE)
            self.arrivals.forget()
            before, start = self.running.cpu(), time.time()  # noqa: TID251 — as the arrivals
            await self.client.call("ResumeQueue", name=WIDE)
            found.append(await self.arrivals.rate_of(count, start))
            used += self.running.cpu() - before
        return self._a_second(found, self.running.cpu() - used, count)

    def _a_second(self, found: list[float], before: float, count: int) -> Figure:
        used = max(self.running.cpu() - before, 0.01)
        return median_of(found, "/s", f"{count * len(found) / used:,.0f} a processor second")

    async def the_rate(self) -> Figure:
        """See how a limit is met once the burst is over: how far from it, whichever way."""
        count = BURST + self.sizes.limited
        await self.client.call("PauseQueue", name=LIMITED)
        await self.many(count, LIMITED)
        self.arrivals.forget()
        await self.client.call("ResumeQueue", name=LIMITED)
        await self.arrivals.rate_of(count, 0)
        times = self.arrivals.times
        rate = self.sizes.limited / (times[-1] - times[-1 - self.sizes.limited])
        return Figure((rate / LIMIT - 1) * 100, "%", remark=f"{rate:,.1f}/s")

    async def the_times(self) -> tuple[Figure, Figure]:
        """See how late tasks are that are due at some time of the next seconds: the median, and the 99th percentile."""
        self.arrivals.forget()
        start, count = time.time() + 2, self.sizes.due  # noqa: TID251 — a time for the other process
        await timed(count, self.sizes.at_once, lambda number: self.client.create(WIDE, start + number / 100))
        await self.arrivals.rate_of(count, 0)
        late = sorted(each * 1000 for each in self.arrivals.late)
        return Figure(quantile(late, 0.5), "ms"), Figure(quantile(late, 0.99), "ms")


@asynccontextmanager
async def ours(folder: Path, arrivals: Arrivals, sizes: Sizes, data: Path | None) -> AsyncIterator[Bench]:
    """Run `longcall queue`, durable or in memory."""
    kept = ("--memory",) if data is None else ("--data", str(data))
    words = ("queue", "--grpc-port", "0", "--rest-port", "0", *kept, "--app-engine", arrivals.url, "--queue", LIMITED)
    async with longcall(folder, *words) as running, connected(running.ready["grpc"], running, arrivals, sizes) as bench:
        yield bench


@asynccontextmanager
async def another(python: str, arrivals: Arrivals, sizes: Sizes) -> AsyncIterator[Bench]:
    """Run gcloud-tasks-emulator."""
    port, nowhere = free_port(), asyncio.subprocess.DEVNULL
    words = ("-m", "gcloud_tasks_emulator", "start", "-q", "-p", str(port), "-H", "127.0.0.1", "-d", WIDE)
    process = await asyncio.create_subprocess_exec(python, *words, "-t", arrivals.url.rpartition(":")[2], stdout=nowhere, stderr=nowhere)
    running = Running(process, {})
    try:
        async with connected(f"127.0.0.1:{port}", running, arrivals, sizes) as bench:
            yield bench
    finally:
        await running.kill()


@asynccontextmanager
async def connected(to: str, running: Running, arrivals: Arrivals, sizes: Sizes) -> AsyncIterator[Bench]:
    """A client of what runs there."""
    async with grpc.aio.insecure_channel(to) as channel:
        async with asyncio.timeout(PATIENCE):
            await channel.channel_ready()
        yield Bench(running, Client(channel), arrivals, sizes)


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


async def main(table: Table, sizes: Sizes, baseline: str) -> None:
    """One after the other."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(arrivals.protocol, "127.0.0.1", 0)
    arrivals.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="longcall-bench-") as name:
        folder = Path(name)
        created, dispatched = await beside(baseline, arrivals, sizes) if baseline else (None, None)
        async with ours(folder, arrivals, sizes, None) as bench:
            table.row("creates over gRPC, in memory", await bench.creates(), created)
        async with ours(folder, arrivals, sizes, folder / "queue") as bench:
            table.row("creates over gRPC, durable", await bench.creates(), created, at_least(CREATES, "/s"))
            table.row("dispatches, durable", await bench.dispatches(), dispatched, at_least(DISPATCHES, "/s"))
            table.row(f"off a limit of {LIMIT}/s, over {sizes.limited:,} tasks", await bench.the_rate())
            late(table, "", await bench.the_times())
        await beside_many(table, folder, arrivals, sizes)
    server.close()
    table.note(
        f"{sizes.tasks:,} tasks in a round, {sizes.at_once} requests at once; durable means on the disk before it is answered. The target "
        "answers at once."
    )
    if not baseline:
        table.note(
            "Without a baseline: the other emulator asks for another protobuf than ours, and an environment of its own (`--baseline`)."
        )


async def beside(python: str, arrivals: Arrivals, sizes: Sizes) -> tuple[Figure, Figure]:
    """Creates and dispatches of the other emulator; fewer of the latter, which are slow there."""
    async with another(python, arrivals, sizes) as bench:
        created = await bench.creates()
    async with another(python, arrivals, replace(sizes, tasks=min(sizes.tasks, 1000), rounds=1)) as bench:
        return created, await bench.dispatches()


async def beside_many(table: Table, folder: Path, arrivals: Arrivals, sizes: Sizes) -> None:
    """Measure the same with many tasks waiting."""
    what, data = f"{sizes.waiting:,} tasks waiting", folder / "many"
    fill(data, sizes.waiting)
    start = time.perf_counter()
    async with ours(folder, arrivals, sizes, data) as bench:
        took = time.perf_counter() - start
        table.row(f"{what}: from exec to the first answer", Figure(took, "s"))
        table.row(f"{what}: memory after the start", Figure(round(bench.running.memory()), "MiB"))
        table.row(f"{what}: dispatches beside them", await bench.dispatches(), None, at_least(DISPATCHES, "/s"))
        late(table, f"{what}: ", await bench.the_times())
        table.row(f"{what}: memory after that", Figure(round(bench.running.memory()), "MiB"))


def late(table: Table, what: str, found: tuple[Figure, Figure]) -> None:
    """The rows of tasks that are due at some time."""
    for part, figure in zip(("p50", "p99"), found, strict=True):
        table.row(f"{what}later than it was due, {part}", figure)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=8_000, help="of each round")
    parser.add_argument("--at-once", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--baseline", default="", metavar="PYTHON")
    chosen = parser.parse_args()
    asked = Sizes(chosen.tasks, chosen.at_once, chosen.rounds, chosen.waiting)
    if chosen.smallest:
        asked = Sizes(200, 32, 1, 1_000, limited=100, due=50)
    result = Table("The embedded queue", uses=("grpcio", "protobuf", "google-cloud-tasks", "uvloop"))
    uvloop.run(main(result, asked, chosen.baseline))
    result.show(chosen)
