"""A uvicorn server inside a program that has its own way to start and stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from longcall.web import problems

BACKLOG = 2048
GRACE = 0.2  # seconds
HEAD_LIMIT = 30.0  # seconds for a request's head, and for what is left of a body after its answer
MAX_HEAD = 64 * 1024  # bytes of a head that is not all there yet; edge.py says how large one may be
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Patient(HttpToolsProtocol):
    """uvicorn's protocol, with limits on a request's head and on the time that a sender keeps us waiting: uvicorn itself has neither."""

    head_limit = HEAD_LIMIT
    _waiting: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_size = True, 0

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        if self._answered():
            self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self.send_400_response(f"a request's head has at most {MAX_HEAD} bytes")
            elif self._waiting is None:
                self._wait()
        elif self._waiting is not None and not self._answered():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self._answered():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered with a problem like any other, before a request is there to be handed on. `msg` is uvicorn's own."""
        if self.cycle is None or self._answered() or not self.cycle.response_started:  # type: ignore[redundant-expr] # uvicorn begins with None
            body = problems.body(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", msg, "")
            head = f"Content-Type: {problems.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nX-Content-Type-Options: nosniff"
            self.transport.write(f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n{head}\r\n\r\n".encode() + body)
        self.transport.close()

    def _answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete  # type: ignore[redundant-expr] # uvicorn begins with None

    def _wait(self) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(self.head_limit, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self.transport.write(_TOO_SLOW)
        self.transport.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # SIGTERM begins a drain, which is not uvicorn's to know


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 takes a free one. Raises OSError."""
    return socket.create_server((host, port), backlog=BACKLOG)


@asynccontextmanager
async def serve(app: ASGIApp, listening: socket.socket, head_limit: float = HEAD_LIMIT) -> AsyncIterator[None]:
    """Serve on a listening socket; on leaving, answers that are under way have a moment to get out. `head_limit` is in seconds."""
    config = uvicorn.Config(
        app,
        http=type("Patient", (_Patient,), {"head_limit": head_limit}),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=0,
        server_header=False,
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
