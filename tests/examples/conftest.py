"""Examples, started as their own first lines say."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.google import free_port

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@asynccontextmanager
async def started(log: Path, *command: str, **environ: str) -> AsyncIterator[str]:
    """Start a module of an installed server on a free port, in the examples' folder, and end it."""
    port = free_port()
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            "--port",
            str(port),
            cwd=EXAMPLES,
            stdout=said,
            stderr=said,
            env=os.environ | environ,  # noqa: TID251 — a child needs it
        )
    try:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(20):
            while not await _answers(url):
                assert process.returncode is None, f"it did not start; {log} says why"
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.kill()
        await process.wait()


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(url):
            return True
    except aiohttp.ClientError:
        return False
