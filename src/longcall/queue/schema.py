"""Opening the queue's SQLite file and bringing it to the present schema."""

import sqlite3
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

from longcall.queue.errors import StorageError
from longcall.queue.oidc import new_key

_MIGRATIONS = ("0001_queue.sql", "0002_tokens_and_policies.sql")

_OWNERS_ALONE = 0o600
"""Tasks have secrets in their headers, and the key that signs tokens is in there; SQLite's other files follow this one."""


def connect(path: Path | None) -> sqlite3.Connection:
    """Open ``path``, made if missing, for this process alone; None opens a database in memory.

    Raises StorageError when another process has it open, or a newer release has written it.
    """
    if path is not None:
        _make(path)
    with ExitStack() as stack:
        try:
            # Commits run in the writer's thread, never at the same time as anything else.
            connection = sqlite3.connect(path or ":memory:", timeout=0, isolation_level=None, check_same_thread=False)
            stack.callback(connection.close)
            _prepare(connection)
        except sqlite3.Error as error:
            reason = "another process has it open" if "locked" in str(error) else str(error)
            raise StorageError(f"the queue can't use {path}: {reason}") from error
        stack.pop_all()
    return connection


def signing_key(connection: sqlite3.Connection) -> str:
    """Return the private key in PEM that signs tokens, made when first asked for."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        found: list[tuple[str]] = connection.execute("SELECT pem FROM signing_key").fetchall()
        if not found:
            found = [(new_key(),)]
            connection.execute("INSERT INTO signing_key VALUES (?)", found[0])
    return found[0][0]


def _make(path: Path) -> None:
    try:
        path.touch(mode=_OWNERS_ALONE)
        path.chmod(_OWNERS_ALONE)
    except OSError as error:
        raise StorageError(f"the queue can't use {path}: {error.strerror}") from error


def _prepare(connection: sqlite3.Connection) -> None:
    # Two queues over one file would each dispatch every task.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN EXCLUSIVE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("COMMIT")
    if version > len(_MIGRATIONS):
        raise StorageError(f"the queue's file has schema {version}; this release knows {len(_MIGRATIONS)}")
    for number, name in enumerate(_MIGRATIONS[version:], start=version + 1):
        script = resources.files("longcall.queue").joinpath("sql", name).read_text("utf-8")
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
