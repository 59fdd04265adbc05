"""What waits while a group is under way goes in one statement; of one record there is never more than one write under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from longcall.core.errors import UnavailableError, UnclearError
from longcall.stores.postgres_server import LIMIT, Connection, Connections, reason, refused

MOST = 256
MOST_BYTES = 4 * 1024 * 1024

# Takes a connection and what was asked for, and returns an answer for each, in one statement and so in one transaction.
Run: TypeAlias = Callable[[Connection, Sequence[Any]], Awaitable[Sequence[Any]]]


class _RefusedError(Exception):
    """The server said no, or was never asked."""


class _Item:
    """One thing that was asked for. `key` is None for a read; `alone` says that the group it was in was refused."""

    __slots__ = ("alone", "asked", "future", "key", "run", "sent", "size", "then")

    def __init__(self, run: Run, asked: object, key: str | None, size: int, then: Callable[[], None] | None) -> None:
        self.run = run
        self.asked = asked
        self.key = key
        self.size = size
        self.then = then
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent = False
        self.alone = False


class Groups:
    """A line of reads or writes, worked off in groups of one kind, several at a time."""

    def __init__(self, connections: Connections, at_once: int) -> None:
        self._connections = connections
        self._at_once = at_once
        self._running = 0
        self._line: list[_Item] = []
        self._busy: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._called = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def do(self, run: Run, asked: object, *, key: str | None = None, size: int = 0, then: Callable[[], None] | None = None) -> Any:  # noqa: ANN401 — what `run` answers
        """Put something in line and wait for its answer, for as long as the limit allows; a write has a key.

        `then` is called when it is done, whatever came of it. Raises UnavailableError for what was not done, and UnclearError for a
        write that may have been.
        """
        if self._closed:
            raise UnavailableError("the store is closed")
        item = _Item(run, asked, key, size, then)
        self._line.append(item)
        self._call()
        try:
            async with asyncio.timeout(LIMIT):
                return await item.future
        except TimeoutError as error:
            if item.sent and key is not None:
                raise _unclear(reason(error)) from error
            raise self._connections.away(error) from error

    async def close(self) -> None:
        """Take nothing more and finish what is in line."""
        self._closed = True
        await self._idle.wait()

    def _call(self) -> None:
        """Start what can be started once everything that is ready to run has put in line what it has."""
        self._idle.clear()
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._called = False
        while self._running < self._at_once and (group := self._pick()):
            self._running += 1
            self._busy.update(item.key for item in group if item.key is not None)
            task = asyncio.get_running_loop().create_task(self._work(group))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        if not self._line and not self._running:
            self._idle.set()

    def _pick(self) -> list[_Item]:
        """Take from the line what goes together. Whatever is left of a record keeps its order."""
        group: list[_Item] = []
        rest: list[_Item] = []
        held, room = set(self._busy), MOST_BYTES
        for item in self._line:
            if item.future.done():
                continue  # nobody waits for it any more, and it was never sent
            if item.key not in held and _fits(group, item, room):
                group.append(item)
                room -= item.size
            else:
                rest.append(item)
            if item.key is not None:
                held.add(item.key)
        self._line = rest
        return group

    async def _work(self, group: list[_Item]) -> None:
        try:
            answers = await self._answers(group)
        except _RefusedError as error:
            answers = self._again(group, error)
        self._running -= 1
        self._busy.difference_update(item.key for item in group if item.key is not None)
        for item, answer in zip(group, answers, strict=False):
            _settle(item, answer)
        # Those just answered run first, so that what they write next is in the next group.
        asyncio.get_running_loop().call_soon(self._start)

    def _again(self, group: list[_Item], error: _RefusedError) -> Sequence[Any]:
        """Nothing was done, and whose fault that was is not known: each goes again by itself, before everything else."""
        if len(group) == 1:
            return [self._connections.away(error)]
        for item in group:
            item.sent, item.alone = False, True
        self._line[:0] = group
        return []

    async def _answers(self, group: list[_Item]) -> Sequence[Any]:
        """The answers, or the error of each. Raises _RefusedError when it is known that nothing was done."""
        try:
            async with asyncio.timeout(LIMIT), self._connections.one() as connection:
                for item in group:
                    item.sent = True
                return await group[0].run(connection, [item.asked for item in group])
        except UnavailableError as error:
            return [type(error)(str(error)) for _ in group]
        except Exception as error:
            if refused(error):
                raise _RefusedError(reason(error)) from error
            in_doubt = group[0].sent and group[0].key is not None
            return [_unclear(reason(error)) if in_doubt else self._connections.away(error) for _ in group]


def _fits(group: list[_Item], item: _Item, room: int) -> bool:
    if not group:
        return True
    return item.run == group[0].run and len(group) < MOST and item.size <= room and not (item.alone or group[0].alone)


def _settle(item: _Item, answer: Any) -> None:  # noqa: ANN401 — an answer, or the error to raise
    if item.future.done():
        pass  # the caller is gone, or was told that it is unclear
    elif isinstance(answer, Exception):
        item.future.set_exception(answer)
    else:
        item.future.set_result(answer)
    if item.then is not None:
        item.then()


def _unclear(why: str) -> UnclearError:
    return UnclearError(f"PostgreSQL did not say whether it kept a write: {why}")
