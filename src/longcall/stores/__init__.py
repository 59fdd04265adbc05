"""Where records and bodies are kept. Stores read and write; they never decide."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from pathlib import Path

from longcall.core.errors import CallerMistake
from longcall.engine.ports import Store

KNOWN = "memory://, sqlite:///relative.db or sqlite:////absolute.db"


def open_store(url: str, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Store]:
    """Open the store that `LONGCALL_STORE` names; on leaving, its writes are finished. Raises CallerMistake for an unknown one."""
    scheme, _, rest = url.partition("://")
    if scheme == "memory" and not rest:
        return _memory(now)
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        return _sqlite(Path(rest[1:]), now)
    raise CallerMistake(f"{url!r} names no store: give {KNOWN}")


def _memory(now: Callable[[], datetime]) -> AbstractAsyncContextManager[Store]:
    from longcall.stores.memory import MemoryStore  # noqa: PLC0415 — each store is loaded only where it is used

    return nullcontext(MemoryStore(now))


def _sqlite(path: Path, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Store]:
    from longcall.stores.sqlite import SqliteStore  # noqa: PLC0415 — as above

    return SqliteStore.open(path, now)
