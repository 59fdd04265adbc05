"""Opening the queue's SQLite file and bringing it to the present schema."""

import sqlite3
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

from longcall.queue.errors import StorageError

_MIGRATIONS = ("0001_queue.sql",)


def connect(path: Path | None) -> sqlite3.Connection:
    """Open ``path``, made if missing, for this process alone; None opens a database in memory.

    Raises StorageError when another process has it open, or a newer release has written it.
    """
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
