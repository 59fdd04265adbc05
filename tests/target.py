"""A target on a real socket that behaves, or misbehaves, as a test says."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seen:
    """One request as the target saw it."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Line:
    """One connection at the target's end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[Seen]
    called: asyncio.Event

    async def request(self) -> Seen:
        """Read one whole request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        self.seen.append(Seen(first, headers, body))
        self.called.set()
        return self.seen[-1]

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int = 200, body: bytes = b"ok", *headers: str) -> None:
        """Write a whole, well-behaved response."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> bool:
        """Wait until the other side has closed."""
        with suppress(ConnectionError):
            return await self.reader.read() == b""
        return True


Serve = Callable[[Line], Awaitable[None]]


@dataclass
class Target:
    """A server whose every connection is handled by the test's own function, and closed after it."""

    handler: Serve
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)
    _handling: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/train"

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handling = asyncio.create_task(self._handle(Line(reader, writer, self.seen, self.called)))
        self._handling.add(handling)
        handling.add_done_callback(self._handling.discard)

    async def _handle(self, line: Line) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.handler(line)
            line.writer.close()
            with suppress(ConnectionError):
                await line.writer.wait_closed()
        finally:
            line.writer.transport.abort()

    async def quiet(self) -> None:
        """Wait until no connection is open any more."""
        if self._handling:
            await asyncio.wait(self._handling)

    async def stop(self) -> None:
        """End it and every connection."""
        self._server.close()
        for handling in list(self._handling):
            handling.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)
        await self._server.wait_closed()


async def well_behaved(line: Line) -> None:
    """Answer every request on the connection with 200."""
    while not line.reader.at_eof():
        await line.request()
        await line.answer()
