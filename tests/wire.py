"""A wire between a client and a server on 127.0.0.1 that can be held up, made one-way, or cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Wire:
    """Carries bytes both ways. While `held`, nothing passes; while `deaf`, nothing comes back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._free = asyncio.Event()
        self._free.set()
        self.deaf = False
        self.port = 0

    def hold(self) -> None:
        """Let nothing pass."""
        self._free.clear()

    def release(self) -> None:
        """Let everything pass, also what was held up."""
        self._free.set()

    def cut(self) -> None:
        """End all connections at once; new ones can be made."""
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until one side ends it."""
        self._ends.add(writer)
        await self._free.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends.add(far_writer)
        for source, target, back in ((reader, far_writer, False), (far_reader, writer, True)):
            task = asyncio.create_task(self._carry(source, target, back=back))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._free.wait()
                if not (back and self.deaf):
                    target.write(data)
        target.transport.abort()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A wire to a port of 127.0.0.1, until it is left."""
    between = Wire(port)
    server = await asyncio.start_server(between.accept, "127.0.0.1", 0)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        between.release()
        between.cut()
        await asyncio.gather(*between.tasks)
