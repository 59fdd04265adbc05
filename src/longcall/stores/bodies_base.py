"""What a folder and a bucket have in common as stores of bodies."""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress

import obstore
from obstore.exceptions import BaseError
from obstore.store import GCSStore, LocalStore

from longcall.core.errors import NotFoundError, UnavailableError

READ_BYTES = 256 * 1024
PROBE = "longcall-probe"
_KEY = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


class ObstoreBodies(ABC):
    """`Bodies` behind obstore. Raises UnavailableError when they can't be read or written, ValueError for a key that is none of ours."""

    def __init__(self, store: LocalStore | GCSStore, limit: float | None = None) -> None:
        """Make one; the store may stay silent for `limit` seconds, wherever in it that comes from."""
        self._store = store
        self._limit = limit

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a body, streamed; it is durable when this returns. When `chunks` raises, so does this, and nothing changes."""
        patience = Patience(self._limit)
        source = Source(chunks, patience)
        try:
            async with patience.timeout:
                await self._put(checked(key), source)
        except (OSError, BaseError) as error:
            if error is source.failure:
                raise
            raise self._unavailable(key, error) from error

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Read a body in chunks. Raises NotFoundError when there is none."""
        try:
            async with asyncio.timeout(self._limit):
                found = await obstore.get_async(self._store, checked(key))
            async for chunk in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(chunk)
        except (OSError, BaseError) as error:
            if self._is_missing(error):
                raise NotFoundError(f"there is no body {key}") from error
            raise self._unavailable(key, error) from error

    async def delete(self, key: str) -> None:
        """Forget a body, also one that is not there."""
        try:
            async with asyncio.timeout(self._limit):
                await obstore.delete_async(self._store, checked(key))
        except (OSError, BaseError) as error:
            if not self._is_missing(error):
                raise self._unavailable(key, error) from error

    async def ping(self) -> None:
        """Ask for a body that is not there. Raises UnavailableError when nobody says so."""
        with suppress(NotFoundError):
            async for _ in self.open(PROBE):
                return

    @abstractmethod
    async def link(self, key: str, seconds: int) -> str | None:
        """A URL by which whoever has it may read a body for so long; None where there can be none."""

    @abstractmethod
    async def _put(self, key: str, source: "Source") -> None:
        """Keep a body whole, or raise."""

    def _is_missing(self, error: Exception) -> bool:
        return isinstance(error, FileNotFoundError)

    def _unavailable(self, key: str, error: Exception) -> UnavailableError:
        return UnavailableError(f"body {key} can't be reached: {first_line(error)}")


class Patience:
    """How long a store may take over what it was given. While it waits for more, no time is counted."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self.timeout: asyncio.Timeout = asyncio.timeout(limit)

    def rest(self) -> None:
        """Count nothing."""
        self.timeout.reschedule(None)

    def begin(self) -> None:
        """Count from now."""
        if self._limit is not None:
            self.timeout.reschedule(asyncio.get_running_loop().time() + self._limit)


class Source:
    """Chunks on their way in. What they fail with is told apart from what the store fails with."""

    def __init__(self, chunks: AsyncIterator[bytes], patience: Patience) -> None:
        self._chunks = chunks
        self._patience = patience
        self.failure: Exception | None = None

    def __aiter__(self) -> "Source":
        return self

    async def __anext__(self) -> bytes:
        self._patience.rest()
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise
        finally:
            self._patience.begin()


def checked(key: str) -> str:
    """The key itself. Raises ValueError when it is none of ours, so that none leads out of the folder or the prefix."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no body's key: keys are names of [A-Za-z0-9_-], joined by /")
    return key


def first_line(error: Exception) -> str:
    """What an error says; obstore says the rest for its own authors."""
    return str(error).partition("\n")[0]
