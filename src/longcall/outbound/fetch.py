"""One small request to an issuer of tokens."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp

from longcall.outbound.minted import NoTokenError

MOST = 64 * 1024  # bytes; no token is longer
LIMIT = 10.0  # seconds


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@asynccontextmanager
async def issuers_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session for issuers: not the one for targets, which may not call the metadata server's address."""
    timeout = aiohttp.ClientTimeout(total=LIMIT)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session:
        yield session


async def fetch(
    session: aiohttp.ClientSession, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, issuer: str
) -> Answer:
    """Ask and read the answer, whatever its status. Raises NoTokenError when none came; the request is not told of."""
    try:
        async with session.request(method, url, headers=headers, data=body, allow_redirects=False) as response:
            found = bytearray()
            async for chunk in response.content.iter_any():
                found += chunk
                if len(found) > MOST:
                    response.close()
                    raise NoTokenError(f"{issuer} answered with something far too long to be a token")
            return Answer(response.status, response.headers, bytes(found))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NoTokenError(f"{issuer} does not answer: {_said(error)}") from None


def _said(error: Exception) -> str:
    """The error's kind alone, where its words may hold what was sent or came."""
    return str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__


def as_json(data: Mapping[str, object]) -> bytes:
    """A request's body."""
    return json.dumps(data).encode()
