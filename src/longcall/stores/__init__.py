"""Where records and bodies are kept. Stores read and write; they never decide."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
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


async def migrate(url: str) -> str:
    """Bring a store's schema up to date, and say in a sentence what was done. Raises CallerMistake, NewerSchemaError, UnavailableError."""
    scheme, _, _ = url.partition("://")
    if scheme in {"postgresql", "postgres"}:
        with _extra("postgres"):
            from longcall.stores import postgres_schema  # noqa: PLC0415 — each store is loaded only where it is used
        before, after = await postgres_schema.migrate(url)
        return f"the schema has version {after}" + (f", and had {before}" if before < after else ": nothing was to be done")
    async with open_store(url, _no_time):  # a file is brought up to date by whoever opens it
        return "nothing is to be done by hand: " + ("indexes are deployed, see deploy/" if scheme == "firestore" else "it is up to date")


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Say which extra brings a module that is missing. Raises CallerMistake."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("longcall"):
            raise
        raise CallerMistake(f"this store needs an extra: pip install 'longcall[{name}]'") from error


def _no_time() -> datetime:
    raise AssertionError("nothing is dated here")


def _memory(now: Callable[[], datetime]) -> AbstractAsyncContextManager[Store]:
    from longcall.stores.memory import MemoryStore  # noqa: PLC0415 — each store is loaded only where it is used

    return nullcontext(MemoryStore(now))


def _sqlite(path: Path, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Store]:
    from longcall.stores.sqlite import SqliteStore  # noqa: PLC0415 — as above

    return SqliteStore.open(path, now)


def _postgres(url: str, *, migrate: bool) -> AbstractAsyncContextManager[Store]:
    with _extra("postgres"):
        from longcall.stores.postgres import PostgresStore  # noqa: PLC0415 — as above
    return PostgresStore.open(url, migrate=migrate)


def _without_password(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at else url


def _firestore(project: str, database: str, now: Callable[[], datetime], retention: timedelta) -> AbstractAsyncContextManager[Store]:
    with _extra("firestore"):
        from longcall.stores.firestore import FirestoreStore  # noqa: PLC0415 — as above; this one takes a quarter of a second
    return FirestoreStore.open(project, database, now, retention)
