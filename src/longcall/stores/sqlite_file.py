"""The database file: its connections and its schema, in numbered steps that only go forward."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from longcall.core.errors import NewerSchemaError, UnavailableError

LOCK_PATIENCE, LOCK_PAUSE = 5.0, 0.02  # seconds
_PRAGMAS = (
    "journal_mode = WAL",
    # Every commit is on the disk before it is answered; macOS needs to be asked twice (https://sqlite.org/pragma.html#pragma_fullfsync).
    "synchronous = FULL",
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    "journal_size_limit = 67108864",
    "cache_size = -32768",
    "temp_store = MEMORY",
)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the file, made and brought up to date where needed. Raises NewerSchemaError, UnavailableError."""
    try:
        # What it holds are other people's requests, credentials and all.
        path.touch(mode=0o600)
        connection = _connect(path)
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(f"SQLite file {path} can't be opened: {error}") from error
    try:
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise UnavailableError(f"SQLite file {path} can't be brought up to date: {error}") from error
    except NewerSchemaError:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that only reads, on a file that `open_writer` has opened."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def schema_of(path: Path) -> tuple[int, int]:
    """The schema that a file has, and the newest one this release knows. Nothing is written to it or its log. Raises UnavailableError."""
    # Without a log beside it nobody has it open, and SQLite is not to make one.
    log = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", timeout=LOCK_PATIENCE, uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema")
            return connection.execute("PRAGMA user_version").fetchone()[0], max(dict(_steps()))
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(f"SQLite file {path} can't be read: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    # Opened on one thread and used on another, never on two at once.
    connection = sqlite3.connect(path.absolute(), timeout=LOCK_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            _patiently(connection, f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _patiently(connection: sqlite3.Connection, sql: str) -> None:
    """Turning a new file to WAL is refused at once while another process does the same: SQLite's own patience does not hold for it."""
    until = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            connection.execute(sql)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(LOCK_PAUSE)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    steps = dict(_steps())
    # One that opens the same file at the same time waits here and finds the work done.
    connection.execute("BEGIN IMMEDIATE")
    try:
        present = connection.execute("PRAGMA user_version").fetchone()[0]
        if present > max(steps):
            raise NewerSchemaError(f"SQLite file {path} has schema {present}; this release knows those up to {max(steps)}: run a newer one")
        for number in sorted(number for number in steps if number > present):
            for statement in _statements(steps[number]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _steps() -> Iterator[tuple[int, str]]:
    for file in (files("longcall.stores") / "sql" / "sqlite").iterdir():
        if file.name.endswith(".sql"):
            yield int(file.name.partition("_")[0]), file.read_text(encoding="utf-8")


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit before it begins, and a step is to be applied whole or not at all."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
