"""Where records and bodies are kept. Stores read and write; they never decide."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path

from longcall.core.errors import CallerMistake
from longcall.engine.ports import Store

KNOWN = "memory://, sqlite:///relative.db, sqlite:////absolute.db, postgresql://user:password@host:5432/database or firestore://project/database"
RETENTION = timedelta(days=30)
# What Google Cloud allows for the two; without a database, the one named (default).
_FIRESTORE = re.compile(r"((?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9])(?:/(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]))?")


def open_store(
    url: str, now: Callable[[], datetime], *, migrate: bool = True, retention: timedelta = RETENTION
) -> AbstractAsyncContextManager[Store]:
    """Open the store that `LONGCALL_STORE` names; on leaving, its writes are finished.

    A server's database is brought up to date only if `migrate`; a file belongs to one process and always is. `retention` is for a store
    that forgets by itself: how long after its end. Raises CallerMistake for an unknown one, or one whose extra is not installed.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "memory" and not rest:
        return _memory(now)
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        return _sqlite(Path(rest[1:]), now)
    if scheme in {"postgresql", "postgres"}:
        return _postgres(url, migrate=migrate)
    if scheme == "firestore" and (place := _FIRESTORE.fullmatch(rest)):
        return _firestore(place[1], place[2] or "(default)", now, retention)
    raise CallerMistake(f"{_without_password(url)!r} names no store: give {KNOWN}")


def _memory(now: Callable[[], datetime]) -> AbstractAsyncContextManager[Store]:
    from longcall.stores.memory import MemoryStore  # noqa: PLC0415 — each store is loaded only where it is used

    return nullcontext(MemoryStore(now))


def _sqlite(path: Path, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Store]:
    from longcall.stores.sqlite import SqliteStore  # noqa: PLC0415 — as above

    return SqliteStore.open(path, now)


def _postgres(url: str, *, migrate: bool) -> AbstractAsyncContextManager[Store]:
    try:
        from longcall.stores.postgres import PostgresStore  # noqa: PLC0415 — as above
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise CallerMistake("a PostgreSQL store needs an extra: pip install 'longcall[postgres]'") from error
    return PostgresStore.open(url, migrate=migrate)


def _without_password(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at else url


def _firestore(project: str, database: str, now: Callable[[], datetime], retention: timedelta) -> AbstractAsyncContextManager[Store]:
    try:
        from longcall.stores.firestore import FirestoreStore  # noqa: PLC0415 — as above; this one takes a quarter of a second
    except ModuleNotFoundError as error:
        raise CallerMistake("a firestore:// store needs Google's client: pip install 'longcall[firestore]'") from error
    return FirestoreStore.open(project, database, now, retention)
