"""One HTTP call, held until it ends: aiohttp made to do exactly that and nothing by itself."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from longcall.core import audience
from longcall.core.attempt import Break, Broken, Outcome, Responded, Response, Trouble
from longcall.core.audience import AccessTokenWanted, IdTokenWanted, Wanted
from longcall.core.errors import LongcallError
from longcall.core.request import Limits
from longcall.core.target import STRICT, TargetRules
from longcall.core.task import MAX_INLINE_BYTES, StoredBody
from longcall.core.text import duration_text
from longcall.engine import observe
from longcall.engine.chunks import begun
from longcall.engine.ports import Bodies, CallRequest, Clock
from longcall.outbound.connections import (
    CAN_WATCH_SILENCE,
    FLIGHT,
    Flight,
    FlightRequest,
    SilenceWatch,
    VettedResolver,
    vetted_sockets,
)
from longcall.outbound.minted import NoTokenError
from longcall.outbound.tokens import Tokens
from longcall.outbound.trouble import NothingSentError, NotResentError, SilentError, broken

POOLED_FOR = 2.0  # seconds; a connection idle for longer may be gone without a word
CHUNK = 64 * 1024
HEAD_LIMIT = 64 * 1024
BODILESS = frozenset({204, 304})
Awaited = TypeVar("Awaited")


async def _never_again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself: whether that is safe is the policy's to say, not the method's."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise NotResentError from error


@dataclass(frozen=True)
class HttpCaller:
    """The engine's way out to targets."""

    session: aiohttp.ClientSession
    watch: SilenceWatch
    bodies: Bodies
    clock: Clock
    max_response_bytes: int
    rules: TargetRules
    tokens: Tokens | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        bodies: Bodies,
        clock: Clock,
        max_response_bytes: int,
        rules: TargetRules = STRICT,
        tokens: Tokens | None = None,
        resolver: AbstractResolver | None = None,
    ) -> AsyncIterator["HttpCaller"]:
        """Make a caller with a connection pool of its own; without `tokens` it has none. Closing it closes every connection.

        Names are the system's to resolve.
        """
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=POOLED_FOR,
            use_dns_cache=False,
            resolver=VettedResolver(rules, resolver or aiohttp.ThreadedResolver()),
            socket_factory=vetted_sockets(rules),
        )
        watch = SilenceWatch()
        async with aiohttp.ClientSession(
            connector=connector,
            request_class=FlightRequest,
            middlewares=(_never_again,),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            requote_redirect_url=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
        ) as session:
            sweep = asyncio.create_task(watch.sweep())
            try:
                yield cls(session, watch, bodies, clock, max_response_bytes, rules, tokens)
            finally:
                sweep.cancel()

    async def call(self, request: CallRequest, limits: Limits, on_sent: Callable[[datetime], None]) -> Outcome:
        """Make one HTTP request and hold it until it ends. Raises nothing but cancellation: every end is an Outcome.

        Only a 401 to a token that was minted here is followed by a second request, with a fresh one, within the same clocks.
        """
        if forbidden := self.rules.refuse_url(request.request.url):
            return Broken(Break.REFUSED, forbidden, self.clock.now())
        sent = _Sent(on_sent)
        total = asyncio.timeout(limits.total.total_seconds())
        try:
            async with total:
                response = await self._exchange(request, limits, sent)
        except NothingSentError as error:
            return Broken(Break.UNREACHABLE, error.trouble, self.clock.now())
        except Exception as error:  # noqa: BLE001 — whatever it is, the call has ended and its outcome must be known
            now = self.clock.now()
            if total.expired():
                return _out_of_time(limits, sent.time, now)
            if isinstance(error, SilentError):
                return _too_silent(limits, sent.time, now)
            return broken(error, sent.time, now)
        return Responded(response, self.clock.now(), sent.time)

    async def _exchange(self, request: CallRequest, limits: Limits, sent: "_Sent") -> Response:
        wanted = audience.wanted(request.request)
        token = await self._token(request, wanted, limits)
        flight = Flight(self.clock.now, sent)
        async with await self._head(request, limits, flight, await self._body(request), token) as response:
            again = await self._again(request, wanted, limits, token) if response.status == HTTPStatus.UNAUTHORIZED else None
            if again is None:
                return await self._watched(flight, limits, self._received(response, request))
        flight = Flight(self.clock.now, sent)
        async with await self._head(request, limits, flight, *again) as response:
            return await self._watched(flight, limits, self._received(response, request))

    async def _token(self, request: CallRequest, wanted: Wanted | None, limits: Limits, rejected: str | None = None) -> str | None:
        """The token that goes with the request, if any. Raises NoTokenError: a target that needs one is not called without."""
        if wanted is None or (isinstance(wanted, IdTokenWanted) and wanted.implied and not (self.tokens and self.tokens.implied)):
            return None
        if self.tokens is None:
            raise NoTokenError("no token for this target can be had here")
        if isinstance(wanted, AccessTokenWanted) and audience.overheard(request.request.url):
            raise NoTokenError("an access token is never sent over plain http, where others can read it: the URL must be https")
        try:
            async with asyncio.timeout(limits.connect.total_seconds()):
                return await self.tokens.bearer(wanted, rejected=rejected)
        except TimeoutError:
            raise NoTokenError(f"no token for the target came within connectTimeout, {duration_text(limits.connect)}") from None

    async def _again(
        self, request: CallRequest, wanted: Wanted | None, limits: Limits, rejected: str | None
    ) -> tuple[bytes | AsyncIterator[bytes] | None, str] | None:
        """What to send once more after a 401: the body from its start, and a fresh token. None: no token was ours, or none is to be had."""
        try:
            token = await self._token(request, wanted, limits, rejected)
            return (await self._body(request), token) if token else None
        except NothingSentError:
            return None

    def _head(
        self, request: CallRequest, limits: Limits, flight: Flight, body: bytes | AsyncIterator[bytes] | None, token: str | None
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Send the request, and wait for the head of the answer. No frame of ours is kept for that: it may take hours."""
        asked = request.request
        silence = None if CAN_WATCH_SILENCE or limits.idle is None else limits.idle.total_seconds()
        FLIGHT.set(flight)
        sending = self.session.request(
            asked.method,
            URL(asked.url, encoded=asked.url.isascii()),  # as given: quoting it anew would break a signed URL
            headers=_headers(request, token),
            data=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect.total_seconds(), sock_read=silence),
        )
        return self._watched(flight, limits, sending)

    def _watched(self, flight: Flight, limits: Limits, work: Awaitable[Awaited]) -> Awaitable[Awaited]:
        """Do it under the idle clock, if it has one. Raises SilentError when that strikes."""
        return work if limits.idle is None or not CAN_WATCH_SILENCE else self._timed(flight, limits.idle, work)

    async def _timed(self, flight: Flight, idle: timedelta, work: Awaitable[Awaited]) -> Awaited:
        silence = None
        try:
            async with self.watch.over(flight, idle.total_seconds()) as silence:
                return await work
        except Exception as error:
            if silence is not None and silence.expired():
                raise SilentError from error
            raise

    async def _body(self, request: CallRequest) -> bytes | AsyncIterator[bytes] | None:
        """What to send; a stored body is known to be there before the target is called. Raises NothingSentError."""
        body = request.request.body
        if not isinstance(body, StoredBody):
            return body or None
        try:
            return await begun(self.bodies.open(request.body_key or ""))
        except LongcallError as error:
            raise NothingSentError(Trouble("NO_BODY", f"the request's body can't be read here: {error}")) from error

    async def _received(self, response: aiohttp.ClientResponse, request: CallRequest) -> Response:
        body = _Body(response, self.max_response_bytes, request.on_received)
        start = await body.up_to(MAX_INLINE_BYTES + 1)
        location = await self._stored(body, start, request.response_key) if len(start) > MAX_INLINE_BYTES else None
        inline = start[:MAX_INLINE_BYTES] if location is None else None
        kept_all = inline is None or len(inline) == body.size
        return Response(
            status=response.status,
            headers={name.lower(): _readable(", ".join(response.headers.getall(name))) for name in response.headers},
            size=body.size if inline is None else len(inline),
            sha256=body.digest.hexdigest() if kept_all else hashlib.sha256(inline or b"").hexdigest(),
            inline=inline,
            location=location,
            truncated=body.truncated,
            close_delimited=_ends_by_closing(response),
        )

    async def _stored(self, body: "_Body", start: bytes, key: str) -> str | None:
        """Stream a large body to the body store. None when that store failed: the target's work is done, so its call does not fail."""
        try:
            await self.bodies.put(key, body.all_after(start))
        except Exception as error:  # noqa: BLE001 — of whatever kind: ours is the fault, or the target's, which `broken` holds
            if body.broken is not None:
                raise body.broken from None
            observe.out_of_reach("body store", error)
            await body.drop_rest()
            return None
        return key


@dataclass
class _Sent:
    """When the attempt's last request began to be written; None while nothing was sent."""

    tell: Callable[[datetime], None]
    time: datetime | None = None

    def __call__(self, time: datetime) -> None:
        self.time = time
        self.tell(time)


class _Body:
    """A response body as it arrives: counted, hashed, and cut where it grows too long. The rest is read and dropped."""

    def __init__(self, response: aiohttp.ClientResponse, limit: int, on_received: Callable[[int], None]) -> None:
        self._content = response.content
        self._limit = limit
        self._on_received = on_received
        self.size = 0
        self.truncated = False
        self.broken: BaseException | None = None
        self.digest = hashlib.sha256()

    async def _next(self) -> bytes:
        """The next chunk; empty at the end. What is over the limit is read and dropped."""
        try:
            while chunk := await self._content.read(CHUNK):
                self._on_received(len(chunk))
                kept = chunk[: self._limit - self.size]
                self.truncated = self.truncated or len(kept) < len(chunk)
                if kept:
                    self.size += len(kept)
                    self.digest.update(kept)
                    return kept
        except BaseException as error:
            self.broken = error
            raise
        return b""

    async def up_to(self, count: int) -> bytes:
        """The first bytes: all of a small body, at least `count` of a larger one."""
        parts = bytearray()
        while len(parts) < count and (chunk := await self._next()):
            parts += chunk
        return bytes(parts)

    async def all_after(self, start: bytes) -> AsyncIterator[bytes]:
        """The whole body again, from its first bytes on."""
        yield start
        while chunk := await self._next():
            yield chunk

    async def drop_rest(self) -> None:
        """Read on to the end; of such a body only its beginning is kept."""
        self.truncated = True
        while await self._next():
            pass


def _readable(value: str) -> str:
    """A header's bytes beyond ASCII as Latin-1, which any byte is (RFC 9110, 5.5)."""
    return value.encode(errors="surrogateescape").decode("latin-1") if not value.isascii() else value


def _headers(request: CallRequest, token: str | None) -> CIMultiDict[str]:
    headers = CIMultiDict(request.headers)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if isinstance(request.request.body, StoredBody):
        headers["Content-Length"] = str(request.request.body.size)
    return headers


def _ends_by_closing(response: aiohttp.ClientResponse) -> bool:
    """Without length and chunks the end of the body is the end of the connection, which can't be told from a cut (RFC 9112, 6.3)."""
    framed = "content-length" in response.headers or "transfer-encoding" in response.headers
    return not framed and response.status not in BODILESS and response.method != "HEAD"


def _out_of_time(limits: Limits, sent_time: datetime | None, now: datetime) -> Broken:
    clock, code = ("taskTimeout", "TASK_TIMEOUT") if limits.by_task else ("attemptTimeout", "ATTEMPT_TIMEOUT")
    trouble = Trouble(code, f"not complete when {clock} was over, {duration_text(limits.total)} into the attempt")
    if sent_time is None:
        return Broken(Break.UNREACHABLE, trouble, now)
    return Broken(Break.TIMED_OUT, trouble, now, sent_time)


def _too_silent(limits: Limits, sent_time: datetime | None, now: datetime) -> Broken:
    said = f"not a byte from the target for {duration_text(limits.idle or limits.total)} (idleTimeout)"
    return Broken(Break.TIMED_OUT, Trouble("IDLE_TIMEOUT", said), now, sent_time)
