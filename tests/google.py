"""Google's own emulators, out of the gcloud CLI."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from tests.conftest import IN_CI


def missing(what: str) -> NoReturn:
    """Skip on a laptop, saying what is missing; in CI that is a failure."""
    if IN_CI:
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@cache
def root() -> Path | None:
    """Where the gcloud CLI's parts are; None without it, or without the java that they run on."""
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    asking = [gcloud, "info", "--format=value(installation.sdk_root)"]
    return Path(subprocess.run(asking, check=True, capture_output=True, text=True).stdout.strip())


def part(path: str) -> Path | None:
    """One of them; None when it is not there."""
    found = root()
    return found / path if found is not None and (found / path).exists() else None


async def sdk() -> Path:
    """The same for tests that can't do without; they skip, and in CI fail."""
    found = await asyncio.to_thread(root)
    if found is None:
        missing("the gcloud CLI, or java")
    return found


@asynccontextmanager
async def pubsub(log: Path) -> AsyncIterator[str]:
    """Google's Pub/Sub emulator: its address, once it answers."""
    program = await asyncio.to_thread(part, "platform/pubsub-emulator/bin/cloud-pubsub-emulator")
    if program is None:
        missing("the gcloud CLI's Pub/Sub emulator, or java")
    port = free_port()
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(str(program), "--host=127.0.0.1", f"--port={port}", stdout=said, stderr=said)
    try:
        async with asyncio.timeout(30):
            while not await answers(port):
                assert process.returncode is None, f"it did not start; {log} says why"
                await asyncio.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
