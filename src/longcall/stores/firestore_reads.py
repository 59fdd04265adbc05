"""Reads of one Firestore database, each with a limit and never tried again: a document, what a query finds, how much it finds."""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_query import AsyncQuery

from longcall.stores.firestore_documents import Snapshot
from longcall.stores.firestore_errors import FAILURES, read_error

READ_LIMIT = 5.0  # seconds
LIST_LIMIT = 30.0


class Finds(Protocol):
    """A query, or a whole collection."""

    def get(self, *, retry: None, timeout: float) -> Awaitable[Sequence[Snapshot]]:
        """Read all of it."""
        ...


Answer = TypeVar("Answer")


class Reads:
    """All raise UnavailableError with `where` in its sentence."""

    def __init__(self, where: str) -> None:
        self._where = where

    async def one(self, document: AsyncDocumentReference) -> Snapshot:
        """Read a document, there or not."""
        return await self._read(document.get(retry=None, timeout=READ_LIMIT))

    async def all(self, query: Finds) -> Sequence[Snapshot]:
        """Read what a query finds."""
        return await self._read(query.get(retry=None, timeout=LIST_LIMIT))

    async def count(self, query: AsyncQuery) -> int:
        """Count what a query finds: one read for a thousand."""
        counting: Any = query.count()  # the client's own annotation is of the class, not of one
        ((answer,),) = await self._read(counting.get(retry=None, timeout=LIST_LIMIT))
        return int(answer.value)

    async def _read(self, read: Awaitable[Answer]) -> Answer:
        try:
            return await read
        except FAILURES as error:
            raise read_error(error, self._where) from error
