"""Those who wait: by the thousand, across runners, and through whatever happens to the server and on the way there."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251 — cuts come at random, the same ones in every run
from statistics import quantiles

from longcall import AsyncLongcall, Longcall
from longcall.core.text import parse_time
from longcall.sdk.view import TaskView
from tests.end_to_end.fleet import fleet
from tests.end_to_end.program import Up, environment, up
from tests.end_to_end.test_fleet import submit
from tests.end_to_end.test_up import Slow
from tests.target import Serve, Target

Start = Callable[[Serve], Awaitable[Target]]


# A thousand


async def end_heard(port: int, path: str) -> float:
    """Wait for a task's end by a long poll or a stream of events: seconds from the end to its being heard of."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await reader.readuntil(b'"finishTime":"')  # null until then
        end = parse_time((await reader.readuntil(b'"'))[:-1].decode())
        return time.time() - end.timestamp()  # noqa: TID251 — the end was told by this machine's clock
    finally:
        writer.transport.abort()


@asynccontextmanager
async def waiting(api: str, names: Sequence[str]) -> AsyncIterator["asyncio.Future[list[float]]"]:
    """Have them all waited for, half by long polls and half by streams."""
    port = int(api.rpartition(":")[2])
    paths = [f"/v1/tasks/{name}{'?wait=60s' if number % 2 else '/events'}" for number, name in enumerate(names)]
    heard = asyncio.gather(*(end_heard(port, path) for path in paths))
    try:
        await asyncio.sleep(4)  # nothing says from outside that all of them wait
        yield heard
    finally:
        heard.cancel()
        with suppress(asyncio.CancelledError):
            await heard


def resident(pid: int) -> float:
    """A process's memory, in KiB."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return float(line.split()[1])


def processor(pid: int) -> float:
    """Seconds of a processor that a process has used."""
    return sum(int(ticks) for ticks in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]) / 100


async def thousand(running: Up, names: Sequence[str], slow: Slow) -> None:
    """A thousand wait, the tasks end at once, and it is measured."""
    pid, before = running.process.pid, resident(running.process.pid)
    async with waiting(running.api, names) as heard:
        each, used = (resident(pid) - before) / len(names), processor(pid)
        slow.answering.set()
        seconds = await asyncio.wait_for(asyncio.shield(heard), 30)
        used = processor(pid) - used
    cuts = quantiles(seconds, n=100)
    spread = f"p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, last {max(seconds):.2f} s after the end"
    print(f"1,000 waiters on {len(set(names))} tasks: {spread}, {used:.2f} s of a processor, {each:.0f} KiB each")  # noqa: T201 — figures
    assert used < 1.5  # what it takes where nothing else runs: everything happens on one processor
    assert max(seconds) < 10  # and nobody was left to his next look, which is 15 s away, or 60
    assert each < 100


async def test_a_thousand_wait_for_one_task(serve: Start, tmp_path: Path) -> None:
    """All of them are woken by its end."""
    slow = Slow()
    async with up(tmp_path / "data") as running:
        await submit(running.api, (await serve(slow)).url, ["train"])
        await asyncio.wait_for(slow.calls.acquire(), 10)
        await thousand(running, ["train"] * 1000, slow)


async def test_a_thousand_wait_for_a_thousand_tasks(serve: Start, tmp_path: Path) -> None:
    """Each is woken by the end of its own, though all end at once."""
    slow, names = Slow(), [f"t{number}" for number in range(1000)]
    async with up(tmp_path / "data") as running:
        await submit(running.api, (await serve(slow)).url, names)
        for _ in names:
            await asyncio.wait_for(slow.calls.acquire(), 30)
        await thousand(running, names, slow)


# Across runners


async def test_an_end_written_by_another_runner_is_heard_of(serve: Start, tmp_path: Path) -> None:
    """Two processes on one SQLite file: those who wait at the one that does not hold the call hear of its end within two seconds or so."""
    slow, names = Slow(), [f"t{number}" for number in range(20)]
    async with fleet(tmp_path) as parts:
        holder = await parts.runner()
        await submit(holder.ready["api"], (await serve(slow)).url, names)
        for _ in names:
            await asyncio.wait_for(slow.calls.acquire(), 10)
        other = await parts.runner()
        async with waiting(other.ready["api"], names * 5) as heard:
            slow.answering.set()
            seconds = await asyncio.wait_for(asyncio.shield(heard), 30)
    print(f"across two runners: last after {max(seconds):.2f} s")  # noqa: T201 — a figure
    assert max(seconds) < 10  # the look comes once a second; without it a stream looks after 15 s, and a poll after 60


async def test_sigterm_ends_streams_and_polls_at_once(serve: Start, tmp_path: Path) -> None:
    """A runner that is told to stop is gone in a moment, and each who waited was answered."""
    slow = Slow()
    async with fleet(tmp_path) as parts:
        runner = await parts.runner()
        await submit(runner.ready["api"], (await serve(slow)).url, ["train"])
        await asyncio.wait_for(slow.calls.acquire(), 10)
        port = int(runner.ready["api"].rpartition(":")[2])
        connections = []
        for path in ("/v1/tasks/train?wait=60s", "/v1/tasks/train/events", "/v1/events") * 50:
            connections.append(await asyncio.open_connection("127.0.0.1", port, limit=2**20))
            connections[-1][1].write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await asyncio.sleep(1)
        begun = time.monotonic()
        assert await runner.stop() == 0
        took = time.monotonic() - begun
        answers = [await reader.read() for reader, _ in connections]
        for _, writer in connections:
            writer.close()
    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200 ")] == []
    assert [answer for answer in answers if b"event-stream" in answer and not answer.endswith(b"\r\n0\r\n\r\n")] == []
    print(f"SIGTERM with 150 who wait: gone after {took:.2f} s")  # noqa: T201 — a figure


# Through everything


@dataclass
class Shears:
    """A way to a server. Once they are sharp, every new connection is soon cut by a reset, often in the middle of an answer."""

    behind: int
    chance: Random
    sharp: bool = False
    port: int = 0
    cuts: int = 0
    _open: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it begins."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Shears"]:
        """Take connections."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for each in list(self._open):
                each.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._relay(reader, writer))
        self._open.add(serving)
        serving.add_done_callback(self._open.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = asyncio.timeout(self.chance.uniform(0.05, 0.5) if self.sharp else None)
        with suppress(OSError):
            inside = await asyncio.open_connection("127.0.0.1", self.behind)
            try:
                async with cut:
                    await asyncio.gather(self._pipe(reader, inside[1]), self._pipe(inside[0], writer))
            finally:
                inside[1].transport.abort()
                writer.transport.abort()
                self.cuts += cut.expired()
        writer.transport.abort()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            whole = not self.sharp or self.chance.random() > 0.1
            writer.write(data if whole else data[: self.chance.randrange(len(data))])
            await writer.drain()
            if not whole:
                self.cuts += 1
                break
        raise ConnectionResetError


@asynccontextmanager
async def command(url: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a client command, and wait until it says something of the task."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "longcall", *arguments, "--url", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        assert b"train" in await asyncio.wait_for(process.stdout.readline(), 20)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def by_events(url: str) -> TaskView:
    """Watch the task to its end."""
    async with AsyncLongcall(url) as client:
        last = [task async for task in client.events("train")][-1]
        assert last.ended
        return last


async def by_changes(url: str) -> TaskView:
    """Watch everything, until the task has ended."""
    async with AsyncLongcall(url) as client:
        async for task in client.changes():
            if task.id == "train" and task.ended:
                return task
    raise AssertionError("a watch of everything has no end")


async def test_every_wait_lives_through_kills_and_cuts(serve: Start, tmp_path: Path) -> None:
    """`Task.wait`, `events()`, `changes()`, `longcall wait` and `longcall watch`, while connections are cut and `up` is killed and started.

    None misses the end, and none gives up before it.
    """
    slow = Slow()
    target = await serve(slow)
    chance = Random(7)  # noqa: S311 — no secret
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(up(tmp_path / "data"))
        way = await stack.enter_async_context(Shears(int(first.api.rpartition(":")[2]), chance).open())
        await submit(first.api, target.url, ["train"])
        await asyncio.wait_for(slow.calls.acquire(), 10)
        task = await asyncio.to_thread(stack.enter_context(Longcall(way.url)).get, "train")
        waits = asyncio.gather(asyncio.to_thread(task.wait, "50s"), by_events(way.url), by_changes(way.url))
        commands = [await stack.enter_async_context(command(way.url, each, "train")) for each in ("wait", "watch")]
        way.sharp = True  # from here on: a first contact is tried a few times only
        await asyncio.sleep(2)
        await first.kill()
        for _ in range(2):
            await asyncio.sleep(1)
            async with up(tmp_path / "data", way.behind) as again:
                await asyncio.wait_for(slow.calls.acquire(), 20)
                await asyncio.sleep(2)
                await again.kill()
        slow.answering.set()
        async with up(tmp_path / "data", way.behind):
            ended = await asyncio.wait_for(waits, 30)
            said = [await asyncio.wait_for(each.communicate(), 30) for each in commands]
    assert [(each.state, each.attempt_count) for each in ended] == [("SUCCEEDED", 4)] * 3
    assert [each.returncode for each in commands] == [0, 0], said
    assert way.cuts > 5  # or nothing was tried
