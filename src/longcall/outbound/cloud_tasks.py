"""The queue's client: Cloud Tasks over REST, the same for Google's server and the embedded one.

https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp

from longcall.core.errors import UnavailableError
from longcall.core.messages import Message, message_to_json
from longcall.core.text import bytes_text, time_text
from longcall.core.wire import dumps, loads

WRITE_LIMIT = 5.0  # seconds
# The most a task may have. When an HTTP task's passes, the queue stops listening, and the call goes on.
APP_ENGINE_DEADLINE, HTTP_DEADLINE = "86415s", "1800s"
Authorize = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class HttpDispatch:
    """Where messages come back as HTTP tasks, off App Engine: the runners' `/dispatch`, and whose ID token the queue brings along."""

    url: str
    service_account: str


class Seen(NamedTuple):
    """A queue in Cloud Tasks' JSON, None where there is none of that name; and the server's `Date`, empty where it gives none."""

    queue: dict[str, Any] | None
    date: str


class _Answer(NamedTuple):
    status: int
    body: bytes
    date: str


@dataclass(frozen=True)
class CloudTasks:
    """Puts messages on queues. They come back to `/dispatch`: as App Engine tasks, or as HTTP tasks where `dispatch` says so.

    `authorize` gives the access token for Google's server; the embedded queue asks for none.
    """

    session: aiohttp.ClientSession
    endpoint: str
    dispatch: HttpDispatch | None = None
    authorize: Authorize | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, endpoint: str, dispatch: HttpDispatch | None = None, authorize: Authorize | None = None
    ) -> AsyncIterator["CloudTasks"]:
        """Make a client; `endpoint` is the server's base URL."""
        timeout = aiohttp.ClientTimeout(total=WRITE_LIMIT)
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=100)
        ) as session:
            yield cls(session, endpoint.rstrip("/"), dispatch, authorize)

    async def create(self, queue: str, name: str, message: Message, at: datetime) -> None:
        """Put a message; one whose name is or was there is success and changes nothing. Raises UnavailableError."""
        task = {"name": f"{queue}/tasks/{name}", "scheduleTime": time_text(at), **self._request(dumps(message_to_json(message)))}
        await self._ask("POST", f"{queue}/tasks", dumps({"task": task}), fine=HTTPStatus.CONFLICT)

    def _request(self, body: bytes) -> dict[str, object]:
        request: dict[str, object] = {"httpMethod": "POST", "headers": {"Content-Type": "application/json"}, "body": bytes_text(body)}
        if self.dispatch is None:
            return {"dispatchDeadline": APP_ENGINE_DEADLINE, "appEngineHttpRequest": {**request, "relativeUri": "/dispatch"}}
        token = {"serviceAccountEmail": self.dispatch.service_account, "audience": self.dispatch.url}
        return {"dispatchDeadline": HTTP_DEADLINE, "httpRequest": {**request, "url": self.dispatch.url, "oidcToken": token}}

    async def ping(self, queue: str) -> None:
        """Read the queue. Raises UnavailableError when it does not answer or is not there."""
        await self._ask("GET", queue)

    async def read(self, queue: str) -> Seen:
        """The queue as the server shows it. Raises UnavailableError when it does not answer."""
        answer = await self._ask("GET", queue, fine=HTTPStatus.NOT_FOUND)
        try:
            shown = loads(answer.body) if answer.status == HTTPStatus.OK else None
        except ValueError as error:
            raise UnavailableError(f"what answers at {self.endpoint} is no queue: {error}") from error
        if shown is not None and not isinstance(shown, dict):
            raise UnavailableError(f"what answers at {self.endpoint} is no queue: it gave no JSON object")
        return Seen(shown, answer.date)

    async def _ask(self, method: str, path: str, body: bytes | None = None, fine: HTTPStatus = HTTPStatus.OK) -> _Answer:
        url = f"{self.endpoint}/v2/{path}"
        headers = {"Content-Type": "application/json"} if body else {}
        if self.authorize is not None:
            headers["Authorization"] = f"Bearer {await self.authorize()}"
        try:
            async with self.session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
                if response.status not in {HTTPStatus.OK, fine}:
                    raise UnavailableError(f"the queue answered {response.status} to {method} {path}: {(await response.text())[:500]}")
                return _Answer(response.status, await response.read(), response.headers.get("Date", ""))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"the queue at {self.endpoint} does not answer: {str(error) or type(error).__name__}") from error
