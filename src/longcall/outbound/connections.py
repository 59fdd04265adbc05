"""Sockets to targets: only to vetted addresses, kept alive on the way, and watched for silence."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import ClientRequest, ClientResponse
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from longcall.core.target import TargetRules

# Clouds drop a silent flow after 4 to 20 minutes without a word; HTTP clients do not turn keepalive on by themselves.
KEEPALIVE_AFTER, KEEPALIVE_EVERY, KEEPALIVE_TIMES = 30, 15, 5
USER_TIMEOUT_MS = (KEEPALIVE_AFTER + KEEPALIVE_EVERY * KEEPALIVE_TIMES) * 1000
SWEEP_EVERY = 0.5
THIN_AFTER = 2.0  # seconds: by then a server has sent its session tickets

# struct tcp_info of Linux (include/uapi/linux/tcp.h): eight bytes, then __u32 fields; tcpi_last_data_recv, in ms, is the twelfth of them.
_LAST_DATA_RECV = struct.Struct("=52xI")
CAN_WATCH_SILENCE = hasattr(socket, "TCP_INFO")


class ForbiddenAddressError(OSError):
    """The rules forbid to call this address."""


AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]


class VettedResolver(AbstractResolver):
    """Resolves a name once for a connection, and gives its addresses on only if every one of them may be called.

    One forbidden address refuses the name: an honest name has none, and which of several is connected to is left to chance.
    """

    def __init__(self, rules: TargetRules, resolver: AbstractResolver) -> None:
        self._rules = rules
        self._resolver = resolver

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Look the name up. Raises ForbiddenAddressError, and OSError for a name that is not found."""
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            if trouble := self._rules.refuse_address(each["host"]):
                raise ForbiddenAddressError(f"{host} leads to {each['host']}, and {trouble.message}")
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()


def vetted_sockets(rules: TargetRules) -> Callable[[AddressInfo], socket.socket]:
    """What makes every socket, just before it is connected to the very address that it is given: no name is looked up after this.

    An address in the URL never meets the resolver; it is vetted here.
    """

    def new_socket(info: AddressInfo) -> socket.socket:
        if trouble := rules.refuse_address(info[4][0]):
            raise ForbiddenAddressError(trouble.message)
        return _kept_alive(info)

    return new_socket


def _kept_alive(info: AddressInfo) -> socket.socket:
    """A socket with keepalive after 30 s, every 15 s, 5 times, and a user timeout to match."""
    family, kind, protocol, _, _ = info
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
        if self._transport is not None and self._transport.get_extra_info("sslcontext") is not None:
            asyncio.get_running_loop().call_later(THIN_AFTER, thin, self._transport)

    def silent_for(self, monotonic: float) -> float:
        """Seconds since the target's last byte, or since the request on a connection that was used before."""
        since_sent = monotonic - self._since
        if self._transport is None:
            return 0.0
        with suppress(OSError, ValueError, AttributeError):  # closed just now, each loop in its way: the call is about to end by itself
            found = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV.size)
            return min(since_sent, float(_LAST_DATA_RECV.unpack(found)[0]) / 1000)
        return 0.0


def thin(transport: asyncio.Transport) -> None:
    """Take 16 KiB off a waiting TLS connection: OpenSSL makes a write buffer as it reads session tickets, and frees it only after a write.

    Writing nothing is enough, and puts nothing on the wire (https://docs.openssl.org/3.0/man3/SSL_write/: SSL_write_ex with num 0).
    """
    with suppress(OSError, ValueError, AttributeError):  # closed meanwhile, each loop in its way
        transport.get_extra_info("ssl_object").write(b"")


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
