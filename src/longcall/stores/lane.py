"""One thread for work on one connection, fed from the event loop in groups."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from longcall.core.errors import UnavailableError

On = TypeVar("On")
Answer = TypeVar("Answer")


class _Item(NamedTuple):
    work: Callable[[Any], Any]
    future: asyncio.Future[Any]
    then: Callable[[], None] | None


class Lane(Generic[On]):
    """Works off in one go whatever has gathered while the last group was worked on.

    While it is idle a single piece of work starts at once; under load a group costs one hop to the thread and one back. `run` gets
    the group, in the order it came, and returns an answer for each: a value, or the exception to raise.
    """

    def __init__(self, name: str, run: Callable[[Sequence[Callable[[On], Any]]], Sequence[Any]]) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Item] = []
        self._groups: SimpleQueue[list[_Item] | None] = SimpleQueue()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[On], Answer], then: Callable[[], None] | None = None) -> "asyncio.Future[Answer]":
        """Put work in line. `then` is called on the loop when it is done, whether or not anybody still waits for the answer."""
        if self._closed or not self._thread.is_alive():
            raise UnavailableError("the store is closed" if self._closed else "the store's thread has ended")  # rather than wait for ever
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append(_Item(work, future, then))
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._next)
        return future

    async def close(self) -> None:
        """Take nothing more, finish what is in line, end the thread."""
        self._closed = True
        await self._idle.wait()
        self._groups.put(None)
        self._thread.join()

    def _next(self) -> None:
        if self._waiting:
            group, self._waiting = self._waiting, []
            self._groups.put(group)
        else:
            self._idle.set()

    def _work(self) -> None:
        while (group := self._groups.get()) is not None:
            self._loop.call_soon_threadsafe(self._settle, group, self._answers(group))

    def _answers(self, group: list[_Item]) -> Sequence[Any]:
        try:
            return self._run([item.work for item in group])
        except Exception as error:  # noqa: BLE001 — whatever it is belongs to those who wait, not to this thread
            return [error] * len(group)

    def _settle(self, group: list[_Item], answers: Sequence[Any]) -> None:
        for item, answer in zip(group, answers, strict=True):
            if item.future.done():
                pass  # cancelled while it was worked on
            elif isinstance(answer, Exception):
                item.future.set_exception(answer)
            else:
                item.future.set_result(answer)
            if item.then is not None:
                item.then()
        # Those just answered run first, so that what they write next is in the next group.
        self._loop.call_soon(self._next)
