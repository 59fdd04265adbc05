"""The HTTP side of a dispatch: one request, sent once, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from longcall.queue import headers
from longcall.queue.lifecycle import Answer
from longcall.queue.model import AppEngineTarget, QueuedTask

_IDLE_KEPT = 2.0
"""Seconds an idle connection is kept: servers close theirs after 5 and more, and a request must not meet that."""

_CONNECT = 30.0
"""Seconds for one connection to be made, whatever the dispatch deadline."""

_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class _BrokenError(Exception):
    """A connection broke; of a class that aiohttp does not answer with a second request."""


class Sender:
    """Sends dispatches. App Engine targets are at ``app_engine``, a base URL; ``secret`` goes there only."""

    def __init__(self, session: aiohttp.ClientSession, app_engine: str | None, secret: str | None) -> None:
        self._session = session
        self._app_engine = None if app_engine is None else app_engine.rstrip("/")
        self._secret = secret

    @classmethod
    @asynccontextmanager
    async def open(cls, app_engine: str | None, secret: str | None) -> AsyncIterator["Sender"]:
        """Hold the connections open; closing drops them."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_KEPT),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AUTOMATIC,
            trust_env=False,
            middlewares=(_once,),
        )
        async with session:
            yield cls(session, app_engine, secret)

    async def send(self, task: QueuedTask) -> Answer:
        """Dispatch a task and return how that ended; never raises but when cancelled."""
        url = self._url(task)
        if url is None:
            return Answer.none("no address is configured for App Engine targets")
        try:
            async with asyncio.timeout(task.deadline.total_seconds()):
                return Answer.of(await self._request(url, task))
        except TimeoutError as error:
            # aiohttp's own time-outs are of this class too, and come with a text.
            return Answer.none(str(error)) if isinstance(error, aiohttp.ClientError) else Answer.too_late()
        except (aiohttp.ClientError, _BrokenError, OSError, ValueError) as error:
            return Answer.none(f"{type(error.__cause__ or error).__name__}: {error}")

    def _url(self, task: QueuedTask) -> str | None:
        if not isinstance(task.target, AppEngineTarget):
            return task.target.url
        return None if self._app_engine is None else self._app_engine + task.target.relative_uri

    async def _request(self, url: str, task: QueuedTask) -> int:
        async with self._session.request(
            task.target.method,
            URL(url, encoded=url.isascii()),  # what is escaped already stays as it is
            data=task.target.body or None,
            headers=headers.of_dispatch(task, self._secret),
            allow_redirects=False,
        ) as response:
            async for _ in response.content.iter_chunked(65536):
                pass  # an answer has come when all of it has; nobody reads it
            return response.status


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    # aiohttp sends GET, PUT and others again when a kept connection breaks. Whether a second request is made is for
    # the retry configuration to say, and every one must be counted.
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenError(str(error)) from error
