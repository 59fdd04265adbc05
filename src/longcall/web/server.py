"""A uvicorn server inside a program that has its own way to start and stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

BACKLOG = 2048
GRACE = 0.2  # seconds


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # SIGTERM begins a drain, which is not uvicorn's to know


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 takes a free one. Raises OSError."""
    return socket.create_server((host, port), backlog=BACKLOG)


@asynccontextmanager
async def serve(app: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    """Serve on a listening socket; on leaving, answers that are under way have a moment to get out."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=0, server_header=False
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks, timeout=GRACE)
        server.should_exit = True
        await serving
        listening.close()
