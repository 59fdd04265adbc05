"""Processes of a bench: started, asked, measured, and ended by who started them."""

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SECRET = "bench"  # noqa: S105 — of a queue on loopback
LINE = 2**26  # bytes of the longest answer
PATIENCE = 60.0  # seconds for a start
INTERVALS = 6
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Running:
    """A process that said on its first line of output, in JSON, where it is."""

    process: asyncio.subprocess.Process
    ready: dict[str, Any]

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    async def ask(self, command: str) -> Any:  # noqa: ANN401 — JSON
        """Write a line to it, and read one. Raises EOFError when it has ended."""
        assert self.process.stdin is not None  # noqa: S101 — asked for below
        self.process.stdin.write(command.encode() + b"\n")
        return await _line(self.process)

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()

    def memory(self) -> float:
        """Resident memory in MiB."""
        return _status(self.pid, "VmRSS:")

    def most_memory(self) -> float:
        """The most resident memory it ever had, in MiB."""
        return _status(self.pid, "VmHWM:")

    def cpu(self) -> float:
        """Processor seconds it has used; the kernel tells them in hundredths."""
        values = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(values[11]) + int(values[12])) / TICKS


async def cpu_shares(seconds: float, *running: Running) -> list[list[float]]:
    """What each uses in each of the next intervals, in % of one core: a collection of garbage is seen, and does not hide the rest."""
    shares: list[list[float]] = [[] for _ in running]
    for _ in range(INTERVALS):
        before = [each.cpu() for each in running]
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(seconds / INTERVALS)
        took = asyncio.get_running_loop().time() - start
        for found, each, was in zip(shares, running, before, strict=True):
            found.append((each.cpu() - was) / took * 100)
    return shares


def _status(pid: int, name: str) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition(name)[2].split()[0]) / 1024


async def _line(process: asyncio.subprocess.Process) -> Any:  # noqa: ANN401 — JSON
    assert process.stdout is not None  # noqa: S101 — asked for below
    if not (line := await process.stdout.readline()):
        raise EOFError("the process has ended; its log says why")
    return json.loads(line)


@asynccontextmanager
async def started(log: Path, *words: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Run Python with these words, until the block is left. What it says on standard error goes to `log`. Raises EOFError."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("LONGCALL_")}  # noqa: TID251 — a child needs it
    pipe = asyncio.subprocess.PIPE
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdin=pipe, stdout=pipe, stderr=said, env=known | dict(environ or {}), limit=LINE
        )
    try:
        yield Running(process, await asyncio.wait_for(_line(process), PATIENCE))
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def longcall(folder: Path, *words: str, **environ: str) -> AsyncIterator[Running]:
    """A command of ours that serves. Its log is named after it; without the prefix LONGCALL_, `environ` are its settings."""
    settings = {name if name.startswith("SSL_") else f"LONGCALL_{name}": value for name, value in environ.items()}
    async with started(folder / f"{words[0]}.log", "-m", "longcall", *words, "--json", environ=settings) as running:
        yield running


@asynccontextmanager
async def queue(folder: Path, app_engine: str) -> AsyncIterator[Running]:
    """The embedded queue, durable, whose dispatches go to this address."""
    ports = ("--grpc-port", "0", "--rest-port", "0")
    async with longcall(
        folder, "queue", *ports, "--data", str(folder / "queue"), "--app-engine", app_engine, QUEUE_SECRET=SECRET
    ) as running:
        yield running


@asynccontextmanager
async def runner(folder: Path, queue: Running, settings: Mapping[str, str], port: int = 0) -> AsyncIterator[Running]:
    """A runner with a SQLite file in `folder`, which it may share with others."""
    known = {
        "STORE": f"sqlite:///{folder / 'longcall.db'}",
        "QUEUE_ENDPOINT": queue.ready["rest"],
        "QUEUE_SECRET": SECRET,
        "ALLOW_PRIVATE_TARGETS": "true",
        "CREATE_RATE": "1000000",
    }
    async with longcall(folder, "runner", "--port", str(port), **(known | dict(settings))) as running:
        yield running


@asynccontextmanager
async def target(folder: Path, *words: str) -> AsyncIterator[Running]:
    """The silent target, in a process of its own: silent.py says what can be asked of it."""
    async with started(folder / "target.log", str(HERE / "silent.py"), *words) as running:
        yield running


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def open_files() -> int:
    """Raise the limit on open files, for this process and those it starts, to the hard limit, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 1_048_576
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
