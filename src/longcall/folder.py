"""The data folder of `longcall up`: one process has it, and its webhook secret lies in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longcall.core.errors import CallerMistake
from longcall.core.signing import key_of, secret_of

LOCK, SECRET = "lock", "webhook-secret"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Have a data folder to ourselves, so that every RUNNING task in it is known to be nobody's. Raises CallerMistake."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise CallerMistake(f"{folder} is in use by another longcall up: stop that one, or give --data another folder") from None
    try:
        yield
    finally:
        os.close(handle)


def webhook_secret(folder: Path, random_hex: str) -> str:
    """The folder's own secret, made at its first start and kept: callbacks outlive a restart. Raises CallerMistake for a spoilt one."""
    path = folder / SECRET
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secret_of(bytes.fromhex(random_hex)) + "\n")
    secret = path.read_text().strip()
    try:
        key_of(secret)
    except ValueError as error:
        raise CallerMistake(f"{path} is not right: {error}; remove it, and a new one is made") from None
    return secret
