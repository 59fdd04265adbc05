"""Bodies too large for a record, as files."""

import asyncio
import fcntl
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from longcall.core.errors import CallerMistake, NotFoundError, UnavailableError

# So many pieces of this size are held in memory while a body is written, whatever its length.
PART_BYTES = 1024 * 1024
PARTS_AT_ONCE = 4
READ_BYTES = 256 * 1024
_KEY = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


def open_bodies(url: str) -> "ObstoreBodies":
    """Open the body store that `LONGCALL_BODIES` names: `file:///folder`, made if missing. Raises CallerMistake, UnavailableError."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path.strip("/"):
        raise CallerMistake(f"{url!r} names no body store: give a folder as file:///absolute/path")
    return ObstoreBodies(Path(unquote(parts.path)))


class ObstoreBodies:
    """`Bodies` in a folder. Raises UnavailableError when it can't be read or written, ValueError for a key that is none of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # bodies are other people's
                _sync(folder.parent)
            self._store = LocalStore(folder)
        except (OSError, BaseError) as error:
            raise UnavailableError(f"body folder {folder} can't be opened: {_first_line(error)}") from error

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a body, streamed; it is on the disk when this returns. When `chunks` raises, so does this, and nothing changes."""
        source = _Source(chunks)
        try:
            await obstore.put_async(self._store, _checked(key), source, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
            await asyncio.to_thread(self._make_durable, key)
        except (OSError, BaseError) as error:
            if error is source.failure:
                raise
            raise _unavailable(key, error) from error

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Read a body in chunks. Raises NotFoundError when there is none."""
        try:
            found = await obstore.get_async(self._store, _checked(key))
            async for chunk in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(chunk)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no body {key}") from error
        except (OSError, BaseError) as error:
            raise _unavailable(key, error) from error

    async def delete(self, key: str) -> None:
        """Forget a body, also one that is not there."""
        try:
            await obstore.delete_async(self._store, _checked(key))
        except FileNotFoundError:
            pass
        except (OSError, BaseError) as error:
            raise _unavailable(key, error) from error

    def _make_durable(self, key: str) -> None:
        """Put the file on the disk, then the names that lead to it."""
        path = self._folder / key
        _sync(path)
        while path != self._folder:
            path = path.parent
            _sync(path)


class _Source:
    """Chunks on their way in. What they fail with is told apart from what the disk fails with."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.failure: Exception | None = None

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no body's key: keys are names of [A-Za-z0-9_-], joined by /")
    return key


def _unavailable(key: str, error: Exception) -> UnavailableError:
    return UnavailableError(f"body {key} can't be reached: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]  # obstore says the rest for its own authors


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # there, fsync alone leaves it in the drive's cache: `man 2 fsync`
        else:
            os.fsync(file)
    finally:
        os.close(file)
