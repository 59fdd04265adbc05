"""What other processes write, heard by LISTEN on one connection that is made anew whenever it breaks."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from longcall.core.errors import LongcallError
from longcall.stores.postgres_server import FAILURES, LIMIT, SETTINGS, connect
from longcall.stores.postgres_work import CHANNEL
from longcall.stores.waiters import Waiters

# Seconds between two looks whether a silent connection still lives, and before a new one is tried.
LOOK = 15.0
PAUSE = 1.0


@asynccontextmanager
async def listening(url: str, waiters: Waiters) -> AsyncGenerator[None]:
    """Wake those who wait for what others write, until it is left."""
    task = asyncio.create_task(_listen_for_ever(url, waiters))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _listen_for_ever(url: str, waiters: Waiters) -> None:
    while True:
        with suppress(LongcallError, *FAILURES):
            await _listen(url, waiters)
        await asyncio.sleep(PAUSE)


async def _listen(url: str, waiters: Waiters) -> None:
    connection = await connect(url, SETTINGS)

    def heard(_connection: object, _pid: int, _channel: str, text: object) -> None:
        for mark in str(text).split():
            waiters.wake(mark)

    gone = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: gone.set())
        async with asyncio.timeout(LIMIT):
            await connection.add_listener(CHANNEL, heard)
        waiters.wake_all()  # what was said meanwhile was said to nobody
        while not gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await gone.wait()
            await connection.execute("SELECT 1", timeout=LIMIT)
    finally:
        connection.terminate()
