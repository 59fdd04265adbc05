"""Google's own emulators, out of the gcloud CLI."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import IN_CI


def missing(what: str) -> None:
    """Skip on a laptop, saying what is missing; in CI that is a failure."""
    if IN_CI:
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def sdk() -> Path:
    """Where the gcloud CLI's parts are."""
    if shutil.which("gcloud") is None or shutil.which("java") is None:
        missing("the gcloud CLI, or java")
    asking = await asyncio.create_subprocess_exec(
        "gcloud", "info", "--format=value(installation.sdk_root)", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await asking.communicate()
    return Path(said.decode().strip())


@asynccontextmanager
async def pubsub(log: Path) -> AsyncIterator[str]:
    """Google's Pub/Sub emulator: its address, once it answers."""
    program = await sdk() / "platform" / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator"
    if not program.exists():
        missing("the Pub/Sub emulator")
    port = free_port()
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(str(program), "--host=127.0.0.1", f"--port={port}", stdout=said, stderr=said)
    try:
        async with asyncio.timeout(30):
            while not await _answers(port):
                assert process.returncode is None, f"it did not start; {log} says why"
                await asyncio.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
