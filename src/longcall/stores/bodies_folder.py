"""Bodies in a folder."""

import asyncio
import fcntl
import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from longcall.core.errors import UnavailableError
from longcall.stores.bodies_base import ObstoreBodies, Source, checked, first_line

# So many pieces of this size are held in memory while a body is written, whatever its length.
PART_BYTES = 1024 * 1024
PARTS_AT_ONCE = 4
# A body is written under its name with # and a number, and renamed when it is whole. A kill leaves that file behind. A put lasts no longer
# than its attempt, 24 hours at most, so nobody writes any more to what is older than this; a runner beside this one may to what is younger.
LEFT_BEHIND = 48 * 3600.0  # seconds
_HALF_WRITTEN = re.compile(r"[A-Za-z0-9_-]+#\d+")


class FolderBodies(ObstoreBodies):
    """`Bodies` as files. A body is on the disk, with every name that leads to it, when `put` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # bodies are other people's
                _sync(folder.parent)
            super().__init__(LocalStore(folder))
        except (OSError, BaseError) as error:
            raise UnavailableError(f"body folder {folder} can't be opened: {first_line(error)}") from error
        threading.Thread(target=sweep, args=(folder,), daemon=True).start()  # a folder of a million bodies must not hold up the start

    async def link(self, key: str, seconds: int) -> str | None:  # noqa: ARG002 — a port has what others need
        """None: files are read through `open` alone."""
        checked(key)
        return None

    async def _put(self, key: str, source: Source) -> None:
        await obstore.put_async(self._store, key, source, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        await asyncio.to_thread(self._make_durable, key)

    def _make_durable(self, key: str) -> None:
        """Put the file on the disk, then the names that lead to it."""
        path = self._folder / key
        _sync(path)
        while path != self._folder:
            path = path.parent
            _sync(path)


def sweep(folder: Path) -> None:
    """Delete what killed processes left half written, by the clock of the file system, which may be another machine's."""
    with suppress(OSError):
        os.utime(folder)
        now = folder.stat().st_mtime
        for below, _, names in os.walk(folder):
            for name in filter(_HALF_WRITTEN.fullmatch, names):
                path = Path(below, name)
                with suppress(OSError):  # another process sweeps too
                    if now - path.stat().st_mtime > LEFT_BEHIND:
                        path.unlink()


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # there, fsync alone leaves it in the drive's cache: `man 2 fsync`
        else:
            os.fsync(file)
    finally:
        os.close(file)
