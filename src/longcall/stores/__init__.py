"""Where records and bodies are kept. Stores read and write; they never decide."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from pathlib import Path

from longcall.core.errors import CallerMistake
from longcall.engine.ports import Store

KNOWN = "memory://, sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host:5432/database"


def open_store(url: str, now: Callable[[], datetime], *, migrate: bool = True) -> AbstractAsyncContextManager[Store]:
    """Open the store that `LONGCALL_STORE` names; on leaving, its writes are finished.

    A server's database is brought up to date only if `migrate`; a file belongs to one process and always is. Raises CallerMistake
    for an unknown one, or one whose extra is not installed.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "memory" and not rest:
        return _memory(now)
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        return _sqlite(Path(rest[1:]), now)
    if scheme in {"postgresql", "postgres"}:
        return _postgres(url, migrate=migrate)
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
