"""Both clients behind one surface, and the whole of Longcall to talk to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest

from longcall import AsyncLongcall, Longcall
from longcall.sdk.async_client import AsyncTask
from longcall.sdk.view import TaskView
from tests.sdk.service import Service, service

Until = Callable[[Any], bool]


def _never(_: object) -> bool:
    return False


class Client:
    """Either client, as a test with an event loop uses it: what blocks, blocks a thread."""

    def __init__(self, under_test: Longcall | AsyncLongcall) -> None:
        self.under_test = under_test

    async def do(self, method: str, *args: Any, of: Any = None, **options: Any) -> Any:  # noqa: ANN401 — whatever the method takes and gives
        """Call a method of the client, or of a task of its."""
        call: Callable[..., Any] = getattr(of or self.under_test, method)
        if isinstance(self.under_test, AsyncLongcall):
            return await call(*args, **options)
        return await asyncio.to_thread(call, *args, **options)

    async def listed(self, **filters: Any) -> list[TaskView]:  # noqa: ANN401 — as above
        """All pages."""
        if isinstance(self.under_test, AsyncLongcall):
            return [task async for task in self.under_test.list(**filters)]
        return await asyncio.to_thread(lambda client: list(client.list(**filters)), self.under_test)

    async def watched(self, method: str, *args: Any, of: Any = None, until: Until = _never, **options: Any) -> list[Any]:  # noqa: ANN401 — as above
        """What an iterator of the client's, or of a task's of its, gives: all of it, or up to the first that is wanted."""
        given = getattr(of or self.under_test, method)(*args, **options)
        if isinstance(self.under_test, AsyncLongcall):
            async with aclosing(given):
                return await _taken(given, until)
        return await asyncio.to_thread(_taken_sync, given, until)

    async def content(self, task: Any) -> bytes:  # noqa: ANN401 — either kind of task
        """A response's body."""
        if isinstance(task, AsyncTask):
            return await task.response.read()
        return await asyncio.to_thread(lambda: bytes(task.response.content))

    async def stream(self, task_id: str) -> list[bytes]:
        """A response's body in chunks."""
        if isinstance(self.under_test, AsyncLongcall):
            async with self.under_test.stream(task_id) as chunks:
                return [chunk async for chunk in chunks]
        return await asyncio.to_thread(self._streamed, self.under_test, task_id)

    @staticmethod
    def _streamed(client: Longcall, task_id: str) -> list[bytes]:
        with client.stream(task_id) as chunks:
            return list(chunks)


async def _taken(given: AsyncIterator[Any], until: Until) -> list[Any]:
    taken = []
    async for each in given:
        taken.append(each)
        if until(each):
            break
    return taken


def _taken_sync(given: Generator[Any, None, None], until: Until) -> list[Any]:
    taken = []
    with closing(given):
        for each in given:
            taken.append(each)
            if until(each):
                break
    return taken


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture(params=[Longcall, AsyncLongcall], ids=["sync", "async"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Make a client of a server; a test that asks for this runs once with each kind."""
    made: list[Client] = []

    async def make(url: str | None = None, token: str | None = None) -> Client:
        made.append(Client(request.param(url, token)))
        return made[-1]

    yield make
    for client in made:
        await client.do("close")


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Everything, for all tests here; each makes tasks of its own."""
    with service(tmp_path_factory.mktemp("up") / "data") as running:
        yield running
