"""What several benches do to a service: ask for calls, time them, and wait until something is so."""

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


async def to_the_end(api: str, url: str, name: str, http: aiohttp.ClientSession) -> None:
    """Ask for a call, and wait until it has succeeded."""
    async with http.post(f"{api}/v1/tasks", json={"id": name, "httpRequest": {"url": url}}) as answer:
        await answer.read()
    async with http.get(f"{api}/v1/tasks/{name}?wait=60s") as answer:
        assert b'"SUCCEEDED"' in await answer.read()  # noqa: S101 — a bench that measured failures would lie


async def timed(count: int, at_once: int, one: Callable[[int], Awaitable[None]]) -> tuple[float, list[float]]:
    """Do `count` things, `at_once` at a time; seconds in all, and each one's milliseconds in order."""
    took, numbers = list[float](), iter(range(count))

    async def worker() -> None:
        for number in numbers:
            start = time.perf_counter()
            await one(number)
            took.append((time.perf_counter() - start) * 1000)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - start, sorted(took)


def quantile(took: Sequence[float], part: float) -> float:
    """Of what is in order, the one that this part of them is below. Raises IndexError for none."""
    return took[min(int(len(took) * part), len(took) - 1)]


async def post(url: str, http: aiohttp.ClientSession) -> bool:
    """One request without a body; whether it was answered with 200."""
    try:
        async with http.post(url) as answer:
            await answer.read()
            return answer.status == 200
    except aiohttp.ClientError:
        return False
