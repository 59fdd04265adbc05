"""The program as people run it: a process of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

QUEUE = "projects/longcall/locations/local/queues/default"


@dataclass
class Up:
    """A running `longcall up`."""

    process: asyncio.subprocess.Process
    api: str
    grpc: str
    rest: str

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and wait until it has."""
        self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 15)


def environment() -> dict[str, str]:
    """This process's environment without settings of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LONGCALL_")}  # noqa: TID251 — a child needs it


@asynccontextmanager
async def up(data: Path, port: int = 0, **settings: str) -> AsyncIterator[Up]:
    """Start `longcall up` on free ports, or on this one, with these settings, and end it if the test has not."""
    ports = ("--port", str(port), "--grpc-port", "0", "--rest-port", "0")
    command = [sys.executable, "-m", "longcall", "up", "--json", *ports, "--data", str(data)]
    log = (data.parent / "up.log").open("ab")
    given = environment() | {f"LONGCALL_{name}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log, env=given)
    log.close()
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        yield Up(process, **json.loads(line))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def google_client(address: str) -> AsyncIterator[CloudTasksAsyncClient]:
    """Google's own client, over gRPC to the embedded queue."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
