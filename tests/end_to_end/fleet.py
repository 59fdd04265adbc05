"""Several processes over one store and one queue, with a way in that can lose any of them."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.program import environment

SECRET = "the-queue-and-its-runners"  # noqa: S105 — a test's


@dataclass
class Part:
    """A process of ours that said it is ready."""

    process: asyncio.subprocess.Process
    ready: dict[str, str]

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()

    async def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = 15) -> int:
        """Ask it to stop, and wait until it has."""
        self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), patience)


@asynccontextmanager
async def part(log: Path, *arguments: str, **settings: str) -> AsyncIterator[Part]:
    """Start a part of Longcall, and end it if the test has not."""
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "longcall",
            *arguments,
            "--json",
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            env=environment() | {f"LONGCALL_{name}": value for name, value in settings.items()},
        )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        assert line, f"it did not start; {log} says why"
        yield Part(process, json.loads(line))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Entrance:
    """One address in front of several runners: each connection goes to the next one that takes it, as a load balancer has it.

    `limit` is how many seconds a connection may be open at most, as every host has it.
    """

    behind: list[int] = field(default_factory=list)
    limit: float = 3600.0
    port: int = 0
    _next: int = 0
    _open: set["asyncio.Task[None]"] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Entrance"]:
        """Take connections."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            while self._open:  # also what was accepted just before
                for each in list(self._open):
                    each.cancel()
                await asyncio.gather(*self._open, return_exceptions=True)
                await asyncio.sleep(0.01)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._relay(reader, writer))
        self._open.add(serving)
        serving.add_done_callback(self._open.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(self.limit):
                    inside = await self._connect()
                    try:
                        await asyncio.gather(_pipe(reader, inside[1]), _pipe(inside[0], writer))
                    finally:
                        inside[1].transport.abort()
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in self.behind:
            self._next += 1
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self.behind[self._next % len(self.behind)])
        raise ConnectionRefusedError


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError  # one side has closed, so the other is closed too


@dataclass
class Fleet:
    """A queue, an entrance, and runners."""

    folder: Path
    stack: AsyncExitStack
    entrance: Entrance
    queue: Part

    async def runner(self, *arguments: str, **settings: str) -> Part:
        """Start another runner behind the entrance."""
        known = {
            "STORE": f"sqlite:///{self.folder / 'fleet.db'}",
            "QUEUE_ENDPOINT": self.queue.ready["rest"],
            "QUEUE_SECRET": SECRET,
            "ALLOW_PRIVATE_TARGETS": "true",
        }
        started = await self.stack.enter_async_context(
            part(self.folder / "runner.log", "runner", "--port", "0", *arguments, **{**known, **settings})
        )
        self.entrance.behind.append(int(started.ready["api"].rpartition(":")[2]))
        return started


@asynccontextmanager
async def fleet(folder: Path, limit: float = 3600.0, secret: str = SECRET) -> AsyncIterator[Fleet]:
    """Start the queue, and an entrance for runners to come."""
    async with AsyncExitStack() as stack:
        entrance = await stack.enter_async_context(Entrance(limit=limit).listening())
        arguments = ("queue", "--grpc-port", "0", "--rest-port", "0", "--data", str(folder / "queue"), "--app-engine", entrance.url)
        queue = await stack.enter_async_context(part(folder / "queue.log", *arguments, QUEUE_SECRET=secret))
        yield Fleet(folder, stack, entrance, queue)
