"""The HTTP side of a dispatch: one request, sent once, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import aiohttp
from yarl import URL

from longcall.queue import headers
from longcall.queue.lifecycle import Answer
from longcall.queue.model import HttpTarget, OAuthToken, OidcToken, QueuedTask, Target
from longcall.queue.oidc import Issuer

Observe: TypeAlias = Callable[[QueuedTask, str, Mapping[str, str], Answer], None]
"""Gets a dispatch that has ended: its task, its URL, its headers and its end."""

_IDLE_KEPT = 2.0
"""Seconds an idle connection is kept: servers close theirs after 5 and more, and a request must not meet that."""

_CONNECT = 30.0
"""Seconds for one connection to be made, whatever the dispatch deadline."""

_ALL_OF_GOOGLE_CLOUD = "https://www.googleapis.com/auth/cloud-platform"
"""The scope of a token whose task does not say."""

_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


def unobserved(_task: QueuedTask, _url: str, _headers: Mapping[str, str], _answer: Answer) -> None:
    """Tell nobody."""


class _BrokenError(Exception):
    """A connection broke; of a class that aiohttp does not answer with a second request."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where App Engine targets are, a base URL or nowhere, and the secret that goes there and nowhere else."""

    app_engine: str | None
    secret: str | None = field(default=None, repr=False)

    def url(self, target: Target) -> str | None:
        """Return where a dispatch goes."""
        if isinstance(target, HttpTarget):
            return target.url
        return None if self.app_engine is None else self.app_engine.rstrip("/") + target.relative_uri


class Sender:
    """Sends dispatches. ``issuer`` signs the tokens that HTTP targets ask for; ``observe`` is told how each dispatch ended."""

    def __init__(
        self, session: aiohttp.ClientSession, address: Address, issuer: Issuer, now: Callable[[], datetime], observe: Observe
    ) -> None:
        self._session = session
        self._address = address
        self._issuer = issuer
        self._now = now
        self._observe = observe

    @classmethod
    @asynccontextmanager
    async def open(
        cls, address: Address, issuer: Issuer, now: Callable[[], datetime], observe: Observe = unobserved
    ) -> AsyncIterator["Sender"]:
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
            yield cls(session, address, issuer, now, observe)

    async def send(self, task: QueuedTask) -> Answer:
        """Dispatch a task and return how that ended; never raises but when cancelled."""
        url = self._address.url(task.target)
        if url is None:
            return Answer.none("no address is configured for App Engine targets")
        told = self._headers(task)
        answer = await self._sent(url, told, task)
        self._observe(task, url, told, answer)
        return answer

    def _headers(self, task: QueuedTask) -> dict[str, str]:
        token = self._token(task.target) if isinstance(task.target, HttpTarget) else None
        return headers.of_dispatch(task, self._address.secret, token)

    def _token(self, target: HttpTarget) -> str | None:
        match target.token:
            case OidcToken(email, audience):
                return self._issuer.id_token(email, audience or target.url, self._now())
            case OAuthToken(email, scope):
                return self._issuer.access_token(email, scope or _ALL_OF_GOOGLE_CLOUD, self._now())
            case None:
                return None

    async def _sent(self, url: str, told: Mapping[str, str], task: QueuedTask) -> Answer:
        try:
            async with asyncio.timeout(task.deadline.total_seconds()):
                return Answer.of(await self._request(url, told, task))
        except TimeoutError as error:
            # aiohttp's own time-outs are of this class too, and come with a text.
            return Answer.none(str(error)) if isinstance(error, aiohttp.ClientError) else Answer.too_late()
        except (aiohttp.ClientError, _BrokenError, OSError, ValueError) as error:
            return Answer.none(f"{type(error.__cause__ or error).__name__}: {error}")

    async def _request(self, url: str, told: Mapping[str, str], task: QueuedTask) -> int:
        async with self._session.request(
            task.target.method,
            URL(url, encoded=url.isascii()),  # what is escaped already stays as it is
            data=task.target.body or None,
            headers=told,
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
