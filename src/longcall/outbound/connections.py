"""Sockets to targets: kept alive on the way, and watched for silence."""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import ClientRequest, ClientResponse
from aiohttp.connector import Connection

# Clouds drop a silent flow after 4 to 20 minutes without a word; HTTP clients do not turn keepalive on by themselves.
KEEPALIVE_AFTER, KEEPALIVE_EVERY, KEEPALIVE_TIMES = 30, 15, 5
USER_TIMEOUT_MS = (KEEPALIVE_AFTER + KEEPALIVE_EVERY * KEEPALIVE_TIMES) * 1000
SWEEP_EVERY = 0.5

# struct tcp_info of Linux (include/uapi/linux/tcp.h): eight bytes, then __u32 fields; tcpi_last_data_recv, in ms, is the twelfth of them.
_LAST_DATA_RECV = struct.Struct("=52xI")
CAN_WATCH_SILENCE = hasattr(socket, "TCP_INFO")


class ForbiddenAddressError(OSError):
    """Nobody calls this address from here: it is link-local, where clouds keep their metadata servers."""


AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]


def new_socket(info: AddressInfo) -> socket.socket:
    """Make a socket with keepalive after 30 s, every 15 s, 5 times, and a user timeout to match."""
    family, kind, protocol, _, address = info
    refuse_forbidden(address[0])
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)  # noqa: FBT003 — the standard library's own signature
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_AFTER),
        ("TCP_KEEPINTVL", KEEPALIVE_EVERY),
        ("TCP_KEEPCNT", KEEPALIVE_TIMES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        if hasattr(socket, option):  # Linux has them all, macOS not
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def refuse_forbidden(address: str) -> None:
    """Raise ForbiddenAddressError for a link-local address, v4 in v6 unwrapped."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped else found
    if inner.is_link_local:
        raise ForbiddenAddressError(f"{address} is a link-local address, which is never called")


@dataclass(eq=False)
class Flight:
    """One call on its connection. `sent_time` is set just before the first byte is written: unset means never sent."""

    now: Callable[[], datetime]
    on_sent: Callable[[datetime], None]
    sent_time: datetime | None = None
    _transport: asyncio.Transport | None = None
    _since: float = 0.0

    def leave(self, connection: Connection) -> None:
        """The connection stands and the request is about to be written."""
        self._transport = connection.transport
        self._since = asyncio.get_running_loop().time()
        self.sent_time = self.now()
        self.on_sent(self.sent_time)

    def silent_for(self, monotonic: float) -> float:
        """Seconds since the target's last byte, or since the request on a connection that was used before."""
        since_sent = monotonic - self._since
        if self._transport is None:
            return 0.0
        with suppress(OSError, ValueError, AttributeError):  # closed just now, each loop in its way: the call is about to end by itself
            found = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV.size)
            return min(since_sent, float(_LAST_DATA_RECV.unpack(found)[0]) / 1000)
        return 0.0


FLIGHT: ContextVar[Flight] = ContextVar("flight")


class FlightRequest(ClientRequest):
    """A request that tells its flight when it leaves, and on which connection."""

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request."""
        FLIGHT.get().leave(conn)
        return await super().send(conn)


@dataclass
class SilenceWatch:
    """The idle clock of every call that has one, in one sweep: aiohttp's own falls silent after a 102 and while sending."""

    _watched: dict[Flight, tuple[float, asyncio.Timeout]] = field(default_factory=dict)

    @asynccontextmanager
    async def over(self, flight: Flight, limit: float | None) -> AsyncIterator[asyncio.Timeout]:
        """Raise TimeoutError inside when the target was silent for `limit` seconds."""
        async with asyncio.timeout(None) as clock:
            if limit is not None:
                self._watched[flight] = (limit, clock)
            try:
                yield clock
            finally:
                self._watched.pop(flight, None)

    async def sweep(self) -> None:
        """Look at every watched call twice a second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            now = loop.time()
            for flight, (limit, clock) in list(self._watched.items()):
                if flight.silent_for(now) >= limit:
                    del self._watched[flight]
                    clock.reschedule(now)
