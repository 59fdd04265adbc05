"""A uvicorn server inside a program that is not its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from longcall.queue.errors import PortError

_BACKLOG = 2048
_GRACE = 1.0
"""Seconds for the answers that are under way when the server stops."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stop.wait()  # uvicorn's own looks ten times a second, for a Date header and other things not used here

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 — whoever listens closes them
        # uvicorn's own also sleeps for a tenth of a second; a suite of tests opens and closes a thousand servers.
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_GRACE)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the program around this one has its own way to stop


@contextmanager
def listen(port: int) -> Iterator[socket.socket]:
    """Listen on 127.0.0.1 (port 0: a free one). Raises PortError when the port is taken."""
    try:
        listening = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    except OSError as error:
        raise PortError(port, error) from error
    with listening:
        yield listening


@asynccontextmanager
async def serve(application: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    """Serve what connects."""
    server = _Server(_config(application))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.stop.set()
        await serving


def _config(application: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http="h11",  # it keeps the body of who asks for another protocol in passing, as Java's client does; uvicorn's other parser drops it
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        ws="none",
    )
