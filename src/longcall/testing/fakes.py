"""Stand-ins for the engine's ports, for tests of the engine and of your own stores and callers: time, chance and targets by hand."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from longcall.core.attempt import Outcome, Responded, Response
from longcall.core.errors import NotFoundError, UnavailableError
from longcall.core.messages import Message
from longcall.core.request import Limits
from longcall.engine.ports import CallRequest

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class FakeClock:
    """Time that passes only when told to, chance that is always the same, ids that count up."""

    time: datetime = NOON
    luck: float = 0.5
    _ids: "count[int]" = field(default_factory=lambda: count(1))
    _sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = field(default_factory=list)

    def now(self) -> datetime:
        """The time as set."""
        return self.time

    def monotonic(self) -> float:
        """Seconds since noon."""
        return (self.time - NOON).total_seconds()

    def chance(self) -> float:
        """The luck as set."""
        return self.luck

    def new_id(self) -> str:
        """`id-1`, `id-2` and so on."""
        return f"id-{next(self._ids)}"

    def new_hex(self, digits: int) -> str:
        """Hex digits that count up."""
        return f"{next(self._ids):0{digits}x}"[-digits:]

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has come so far."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + timedelta(seconds=seconds), next(self._ids), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its time."""
        end = self.time + timedelta(seconds=seconds)
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settled()
        self.time = end
        await settled()


async def settled(turns: int = 20) -> None:
    """Let everything that can go on go on."""
    for _ in range(turns):
        await asyncio.sleep(0)


def ok(now: datetime, status: int = 200, body: bytes = b"ok") -> Responded:
    """A complete response."""
    return Responded(Response(status, {}, len(body), "", inline=body), end_time=now, sent_time=now)


@dataclass
class FakeCaller:
    """Targets by hand: each call is noted and ends as `answer` says, 200 by default."""

    clock: FakeClock
    answer: Callable[[CallRequest], Awaitable[Outcome]] | None = None
    calls: list[tuple[CallRequest, Limits]] = field(default_factory=list)

    async def call(self, request: CallRequest, limits: Limits, on_sent: Callable[[datetime], None]) -> Outcome:
        """Note the call and end it."""
        self.calls.append((request, limits))
        on_sent(self.clock.now())
        return ok(self.clock.now()) if self.answer is None else await self.answer(request)


@dataclass(frozen=True)
class Put:
    """A message on the queue."""

    queue: str
    name: str
    message: Message
    at: datetime


@dataclass
class FakeQueue:
    """A queue that keeps messages until a test delivers them. A name is taken once and for all."""

    puts: list[Put] = field(default_factory=list)
    away: bool = False
    _names: set[str] = field(default_factory=set)

    async def create(self, queue: str, name: str, message: Message, at: datetime) -> None:
        """Keep a message; a name that is or was there is success and changes nothing."""
        if self.away:
            raise UnavailableError
        if name not in self._names:
            self._names.add(name)
            self.puts.append(Put(queue, name, message, at))

    async def ping(self, queue: str) -> None:
        """Raise UnavailableError when away."""
        if self.away:
            raise UnavailableError(f"{queue} does not answer")


@dataclass
class FakeBodies:
    """Bodies in memory. With `links_to`, a URL, they have links below it."""

    kept: dict[str, bytes] = field(default_factory=dict)
    links_to: str | None = None

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a body."""
        self.kept[key] = b"".join([chunk async for chunk in chunks])

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Read a body. Raises NotFoundError."""
        if key not in self.kept:
            raise NotFoundError(f"there is no body {key}")
        yield self.kept[key]

    async def delete(self, key: str) -> None:
        """Forget a body."""
        self.kept.pop(key, None)

    async def ping(self) -> None:
        """A dictionary is always in reach."""

    async def link(self, key: str, seconds: int) -> str | None:
        """A URL that says how long it would be good for."""
        return None if self.links_to is None else f"{self.links_to}/{key}?seconds={seconds}"
