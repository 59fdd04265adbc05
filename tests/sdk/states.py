"""Tasks in whatever state a test wants to begin with, on the whole of Longcall."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from longcall import AsyncLongcall, Callback, RetryPolicy
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
STATES = ("SCHEDULED", "WAITING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED")
ONCE = RetryPolicy(max_attempts=1)
HOURLY = RetryPolicy(min_backoff=timedelta(hours=1), max_backoff=timedelta(hours=1))


def in_a_week() -> datetime:
    """Late enough for a task to be SCHEDULED for as long as a test takes."""
    return datetime.now(UTC) + timedelta(days=7)  # noqa: TID251 — the server under test has a real clock


async def hanging(line: Line) -> None:
    """Never answer."""
    await line.request()
    await line.gone()


async def failing(line: Line) -> None:
    """Answer 500."""
    await line.request()
    await line.answer(500, b"no disk left", "Content-Type: text/plain")


async def bring(api: str, serve: Start, state: str, callback: Callback | str | None = None) -> str:
    """Make a task and bring it into a state; returns its id."""
    handlers = {"WAITING": failing, "FAILED": failing, "RUNNING": hanging}
    async with AsyncLongcall(api) as client:
        task = await client.submit(
            (await serve(handlers.get(state, well_behaved))).url,
            schedule_time=in_a_week() if state in {"SCHEDULED", "CANCELLED"} else None,
            retry=HOURLY if state == "WAITING" else ONCE,
            callback=callback,
        )
        if state == "CANCELLED":
            await task.cancel()

        async def has_come() -> bool:
            return (await task.refresh()).state == state

        await until(has_come)
        return task.id


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look until something holds, for 10 s at most."""
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 — what is looked at is in another process, whose events are not ours
            await asyncio.sleep(0.02)
