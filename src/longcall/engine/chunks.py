"""Bodies as chunks."""

from collections.abc import AsyncIterator


async def whole(body: bytes) -> AsyncIterator[bytes]:
    """A body in one chunk; an empty one in none."""
    if body:
        yield body


async def begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, the first of them read already: a body that is not there raises now, before anything is promised of it."""
    return _chained(await anext(chunks, b""), chunks)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
