"""What several benches do to a service: ask for many calls, and wait until something is so."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

AT_ONCE = 64


async def wait_until(done: Callable[[], Awaitable[bool]], patience: float, pause: float = 0.05) -> bool:
    """Ask until it is so; False when `patience` seconds were over first."""
    until = time.monotonic() + patience
    while not await done():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(pause)
    return True


async def submit(api: str, url: str, names: Sequence[str], **more: object) -> None:
    """Ask for these calls, many at once; `more` goes into each task."""
    left = iter(names)

    async def some(http: aiohttp.ClientSession) -> None:
        for name in left:
            async with http.post("/v1/tasks", json={"id": name, "httpRequest": {"url": url}, **more}) as answer:
                assert answer.status == 201, await answer.text()  # noqa: S101 — a bench that measured failures would lie

    async with aiohttp.ClientSession(api) as http:
        await asyncio.gather(*(some(http) for _ in range(AT_ONCE)))


async def post(url: str, http: aiohttp.ClientSession) -> bool:
    """One request without a body; whether it was answered with 200."""
    try:
        async with http.post(url) as answer:
            await answer.read()
            return answer.status == 200
    except aiohttp.ClientError:
        return False
