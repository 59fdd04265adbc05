"""The queue's client: Cloud Tasks over REST, the same for Google's server and the embedded one.

https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

import aiohttp

from longcall.core.errors import UnavailableError
from longcall.core.messages import Message, message_to_json
from longcall.core.text import bytes_text, time_text
from longcall.core.wire import dumps

WRITE_LIMIT = 5.0  # seconds
DISPATCH_DEADLINE = "86415s"  # the most an App Engine task may have: 24 h and 15 s


@dataclass(frozen=True)
class CloudTasks:
    """Puts messages on queues. They come back to `/dispatch` as App Engine tasks."""

    session: aiohttp.ClientSession
    endpoint: str

    @classmethod
    @asynccontextmanager
    async def open(cls, endpoint: str) -> AsyncIterator["CloudTasks"]:
        """Make a client; `endpoint` is the server's base URL."""
        timeout = aiohttp.ClientTimeout(total=WRITE_LIMIT)
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=100)
        ) as session:
            yield cls(session, endpoint.rstrip("/"))

    async def create(self, queue: str, name: str, message: Message, at: datetime) -> None:
        """Put a message; one whose name is or was there is success and changes nothing. Raises UnavailableError."""
        task = {
            "name": f"{queue}/tasks/{name}",
            "scheduleTime": time_text(at),
            "dispatchDeadline": DISPATCH_DEADLINE,
            "appEngineHttpRequest": {
                "httpMethod": "POST",
                "relativeUri": "/dispatch",
                "headers": {"Content-Type": "application/json"},
                "body": bytes_text(dumps(message_to_json(message))),
            },
        }
        await self._ask("POST", f"{queue}/tasks", dumps({"task": task}), fine=HTTPStatus.CONFLICT)

    async def ping(self, queue: str) -> None:
        """Read the queue. Raises UnavailableError when it does not answer or is not there."""
        await self._ask("GET", queue)

    async def _ask(self, method: str, path: str, body: bytes | None = None, fine: HTTPStatus = HTTPStatus.OK) -> None:
        url = f"{self.endpoint}/v2/{path}"
        headers = {"Content-Type": "application/json"} if body else None
        try:
            async with self.session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
                if response.status not in {HTTPStatus.OK, fine}:
                    raise UnavailableError(f"the queue answered {response.status} to {method} {path}: {(await response.text())[:500]}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"the queue at {self.endpoint} does not answer: {str(error) or type(error).__name__}") from error
