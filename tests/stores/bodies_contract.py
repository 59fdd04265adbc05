"""What every store of bodies keeps to: one suite for a folder and a bucket."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from longcall.core.errors import NotFoundError
from longcall.engine.ports import Bodies

KEY = "responses/0af7651916cd43dd-1"
MIB = 1024 * 1024


async def chunks(*parts: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    """These, then the error."""
    for part in parts:
        yield part
    if error is not None:
        raise error


async def read(bodies: Bodies, key: str = KEY) -> bytes:
    """All of a body."""
    return b"".join([chunk async for chunk in bodies.open(key)])


class BodiesContract:
    """Its heirs have a fixture `bodies`, a store with nothing in it, and `again`, the same one opened anew."""

    @pytest.mark.parametrize(
        "parts",
        [(), (b"",), (b"a", b"", b"b"), (bytes(range(256)) * 4096 * 5,), (bytes(range(256)) * 4096 * 5, b"+"), (b"x" * 3_000_000,) * 5],
        ids=("none", "empty", "gaps", "one part", "one byte more", "several parts"),
    )
    async def test_a_body_is_read_as_it_was_put(self, bodies: Bodies, parts: tuple[bytes, ...]) -> None:
        """Whatever the chunks are, their bytes come back, in their order."""
        await bodies.put(KEY, chunks(*parts))
        assert await read(bodies) == b"".join(parts)

    async def test_a_large_body_comes_in_chunks(self, bodies: Bodies) -> None:
        """Reading holds a piece at a time, never the whole."""
        await bodies.put(KEY, chunks(*[b"x" * 100_000] * 120))
        sizes = [len(chunk) async for chunk in bodies.open(KEY)]
        assert sum(sizes) == 12_000_000
        assert max(sizes) <= MIB

    async def test_bodies_survive_a_reopen(self, bodies: Bodies, again: Bodies) -> None:
        """What one process put, another one reads."""
        await bodies.put(KEY, chunks(b"kept"))
        assert await read(again) == b"kept"

    @pytest.mark.parametrize("size", [5, 12 * MIB], ids=("small", "large"))
    async def test_the_last_body_under_a_key_counts(self, bodies: Bodies, size: int) -> None:
        """A put replaces what was there, whole."""
        await bodies.put(KEY, chunks(b"x" * (size + MIB)))
        await bodies.put(KEY, chunks(b"y" * size))
        assert await read(bodies) == b"y" * size

    async def test_of_two_puts_at_once_one_counts_whole(self, bodies: Bodies) -> None:
        """Never a mixture."""
        await asyncio.gather(*(bodies.put(KEY, chunks(*[letter * MIB] * 11)) for letter in (b"a", b"b")))
        assert set(await read(bodies)) in ({ord("a")}, {ord("b")})

    async def test_a_body_that_is_not_there_is_not_found(self, bodies: Bodies) -> None:
        """NotFoundError, with the key."""
        with pytest.raises(NotFoundError, match=KEY):
            await read(bodies)

    async def test_deleting_twice_is_as_good_as_once(self, bodies: Bodies) -> None:
        """A body is forgotten; forgetting what is not there is fine."""
        await bodies.put(KEY, chunks(b"x"))
        await bodies.delete(KEY)
        await bodies.delete(KEY)
        with pytest.raises(NotFoundError):
            await read(bodies)

    @pytest.mark.parametrize("size", [1, 12 * MIB], ids=("small", "large"))
    @pytest.mark.parametrize("error", [OSError("the line broke"), ValueError("no more")], ids=("OSError", "ValueError"))
    async def test_a_body_that_breaks_off_changes_nothing(self, bodies: Bodies, error: Exception, size: int) -> None:
        """When the chunks raise, the caller sees that very error, and what was under the key stays."""
        await bodies.put(KEY, chunks(b"whole"))
        with pytest.raises(type(error)) as caught:
            await bodies.put(KEY, chunks(*[b"x" * MIB] * (size // MIB), b"x", error=error))
        assert caught.value is error
        assert await read(bodies) == b"whole"

    async def test_a_cancelled_put_is_no_body(self, bodies: Bodies) -> None:
        """A put that is given up leaves nothing to read."""
        started, never = asyncio.Event(), asyncio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            yield b"x" * 12 * MIB
            started.set()
            await never.wait()

        put = asyncio.ensure_future(bodies.put(KEY, stuck()))
        await started.wait()
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        with pytest.raises(NotFoundError):
            await read(bodies)

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".", "a.b", "a b", "a%2e", "ä", "a\n", "a\x00"])
    async def test_a_key_that_is_none_of_ours_is_refused(self, bodies: Bodies, key: str) -> None:
        """No key leads out of the store: anything but names of [A-Za-z0-9_-] joined by / is an error, whatever is asked."""
        with pytest.raises(ValueError, match="no body's key"):
            await bodies.put(key, chunks(b"x"))
        with pytest.raises(ValueError, match="no body's key"):
            await read(bodies, key)
        with pytest.raises(ValueError, match="no body's key"):
            await bodies.delete(key)
        with pytest.raises(ValueError, match="no body's key"):
            await bodies.link(key, 60)

    async def test_a_store_in_reach_answers_a_ping(self, bodies: Bodies) -> None:
        """`ping` of a store that works says nothing, and leaves nothing."""
        await bodies.ping()
