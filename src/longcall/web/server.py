"""A uvicorn server inside a program that has its own way to start and stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from longcall.web import problems

BACKLOG = 2048
GRACE = 0.2  # seconds
HEAD_LIMIT = 30.0  # seconds for a request's head, and for what is left of a body after its answer
# Bytes of a request that are not its body: a head that is not all there yet (edge.py says how large one may be), and what frames chunks.
MAX_AROUND, AROUND_A_BYTE = 64 * 1024, 16
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Patient(HttpToolsProtocol):
    """uvicorn's protocol, with limits on what is not a request's body, and on the time that a sender keeps us waiting: it has neither.

    Who asks for another protocol in passing, as Java's client does with h2c, gets this one (RFC 9110, 7.8), and keeps its body.
    """

    head_limit = HEAD_LIMIT
    _waiting: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _resumed = False
    _begun = False
    _body_size = 0
    _around = 0
    _still = 0
    _running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        if not self._resumed:
            super().on_message_begin()
            self._begun = self._in_head = True
            self._stop_waiting()  # each head has its own time
            self._body_size = self._around = self._still = 0

    def on_url(self, url: bytes) -> None:
        if not self._resumed:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers tell nothing that is asked for here
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_body = True
        if self._in_head:
            self._in_head = False
            super().on_headers_complete()
        self._resumed = False

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False

    def data_received(self, data: bytes) -> None:
        before, self._begun = self._body_size, False
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while True:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    rest = rest[upgrade.args[0] :]
                    self._resume()
        except httptools.HttpParserError:
            self.send_400_response("this is no HTTP that can be read")
            return
        if not self._begun:
            grown = self._body_size - before
            self._around += len(data) - grown
            self._still = 0 if grown else self._still + len(data)
        if self._around > MAX_AROUND + AROUND_A_BYTE * self._body_size or self._still > MAX_AROUND:
            self.send_400_response(f"what is not its body has at most {MAX_AROUND} bytes")
        elif not self._senders_turn():
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def _senders_turn(self) -> bool:
        """Nothing that was asked for is under way: what comes next is the sender's to say, and may not take for ever."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr] # uvicorn begins with None

    def _resume(self) -> None:
        """Read on as HTTP/1.1. The parser gave up after the head, and took it to have no body: another one is told how it is framed."""
        framing = b"".join(b"%s: %s\r\n" % each for each in self.headers if each[0] in FRAMING)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self._resumed = self.cycle.more_body = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % framing)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 — uvicorn's own type of an app
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if (self._in_body or self._in_head) and self._senders_turn():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)
        if self._running is not None and not self._running.response_complete:  # uvicorn tells only the last of a pipeline
            self._running.disconnected = True
            self._running.message_event.set()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered with a problem like any other, before a request is there to be handed on. `msg` is uvicorn's own."""
        running = self._running
        if running is None or running.response_complete or (running is self.cycle and not running.response_started):
            body = problems.body(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", msg, "")
            head = f"Content-Type: {problems.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nX-Content-Type-Options: nosniff"
            self.transport.write(f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n{head}\r\n\r\n".encode() + body)
        self.transport.close()

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
        if self._in_head and self._senders_turn():
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
