"""A service to be called: slow, flaky, and one that is not there; and a receiver of callbacks. For `longcall demo`."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from longcall.sdk import webhooks
from longcall.sdk.webhooks import BadSignatureError, Event

ANSWER: dict[str, float] = {"epochs": 40, "loss": 0.02}


@dataclass
class Sample:
    """What the service does, and every request it saw, by task."""

    slow_for: float  # seconds
    failures: int
    secrets: Sequence[str] = ()
    told: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    seen: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The service as an ASGI app."""
        doors = {"/train": self.train, "/flaky": self.flaky, "/hook": self.hook}
        return Starlette(routes=[Route(path, door, methods=["POST"]) for path, door in doors.items()])

    def calls(self, task_id: str) -> list[dict[str, str]]:
        """The headers of each request for a task."""
        return self.seen.setdefault(task_id, [])

    async def train(self, request: Request) -> Response:
        """Work for a while without a word, then answer."""
        self._note(request)
        asked = await request.json()
        await asyncio.sleep(self.slow_for)
        return JSONResponse(ANSWER | {"epochs": asked["epochs"]})

    async def flaky(self, request: Request) -> Response:
        """Fail a few times, then succeed."""
        calls = self._note(request)
        return JSONResponse({"ok": True}) if len(calls) > self.failures else JSONResponse({"busy": True}, 503)

    async def hook(self, request: Request) -> Response:
        """Take a callback if its signature is right, as every receiver should."""
        try:
            event = webhooks.verify(request.headers, await request.body(), self.secrets)
        except BadSignatureError:
            return Response(status_code=401)
        self.told.put_nowait(event)
        return Response(status_code=204)

    def _note(self, request: Request) -> list[dict[str, str]]:
        calls = self.calls(request.headers.get("longcall-task", ""))
        calls.append(dict(request.headers))
        return calls


def unused_port() -> int:
    """A port of loopback where nothing listens: it was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
