"""Bodies in a folder."""

import asyncio
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from longcall.core.errors import CallerMistake, NotFoundError, UnavailableError
from longcall.stores import bodies as bodies_module
from longcall.stores.bodies import ObstoreBodies, open_bodies

KEY = "responses/0af7651916cd43dd-1"


async def chunks(*parts: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    """These, then the error."""
    for part in parts:
        yield part
    if error is not None:
        raise error


async def read(bodies: ObstoreBodies, key: str = KEY) -> bytes:
    """All of a body."""
    return b"".join([chunk async for chunk in bodies.open(key)])


def names_in(folder: Path) -> list[str]:
    """Everything in a folder and below it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where bodies lie; not there yet."""
    return tmp_path / "deep down" / "bodies"


@pytest.fixture
def bodies(folder: Path) -> ObstoreBodies:
    """A body store by its URL."""
    return open_bodies(f"file://{folder}".replace(" ", "%20"))


@pytest.mark.parametrize(
    "parts", [(), (b"",), (b"a", b"", b"b"), (bytes(range(256)) * 16384, b"tail")], ids=("none", "empty", "gaps", "4 MiB")
)
async def test_a_body_is_read_as_it_was_put(bodies: ObstoreBodies, parts: tuple[bytes, ...]) -> None:
    """Whatever the chunks are, their bytes come back."""
    await bodies.put(KEY, chunks(*parts))
    assert await read(bodies) == b"".join(parts)


async def test_a_large_body_comes_in_chunks(bodies: ObstoreBodies) -> None:
    """Reading holds a piece at a time, never the whole."""
    await bodies.put(KEY, chunks(*[b"x" * 100_000] * 50))
    sizes = [len(chunk) async for chunk in bodies.open(KEY)]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= 1_000_000


async def test_bodies_survive_a_reopen(bodies: ObstoreBodies, folder: Path) -> None:
    """A folder that is there already is opened with what is in it."""
    await bodies.put(KEY, chunks(b"kept"))
    assert await read(ObstoreBodies(folder)) == b"kept"


async def test_the_last_body_under_a_key_counts(bodies: ObstoreBodies) -> None:
    """A second put takes the place of the first, whole."""
    await bodies.put(KEY, chunks(b"the first, longer one"))
    await bodies.put(KEY, chunks(b"the second"))
    assert await read(bodies) == b"the second"


async def test_a_missing_body_is_not_found(bodies: ObstoreBodies) -> None:
    """What was never put, or deleted, raises NotFoundError and names the key."""
    with pytest.raises(NotFoundError, match=KEY):
        await read(bodies)


async def test_deleting_twice_is_as_good_as_once(bodies: ObstoreBodies) -> None:
    """A body is forgotten; forgetting what is not there is fine."""
    await bodies.put(KEY, chunks(b"x"))
    await bodies.delete(KEY)
    await bodies.delete(KEY)
    with pytest.raises(NotFoundError):
        await read(bodies)


@pytest.mark.parametrize("error", [OSError("the line broke"), ValueError("no more")])
async def test_a_body_that_breaks_off_changes_nothing(bodies: ObstoreBodies, folder: Path, error: Exception) -> None:
    """When the chunks raise, the caller sees that very error, what was under the key stays, and no half file is left."""
    await bodies.put(KEY, chunks(b"whole"))
    with pytest.raises(type(error)) as caught:
        await bodies.put(KEY, chunks(b"x" * 5_000_000, error=error))
    assert caught.value is error
    assert await read(bodies) == b"whole"
    assert names_in(folder) == ["responses", KEY]


async def test_a_cancelled_put_leaves_nothing(bodies: ObstoreBodies) -> None:
    """A put that is given up is no body."""
    started, never = asyncio.Event(), asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
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
async def test_a_key_that_is_none_of_ours_is_refused(bodies: ObstoreBodies, folder: Path, key: str) -> None:
    """No key leads out of the folder: anything but names of [A-Za-z0-9_-] joined by / is an error, whatever is asked."""
    with pytest.raises(ValueError, match="no body's key"):
        await bodies.put(key, chunks(b"x"))
    with pytest.raises(ValueError, match="no body's key"):
        await read(bodies, key)
    with pytest.raises(ValueError, match="no body's key"):
        await bodies.delete(key)
    assert names_in(folder) == []


async def test_a_folder_that_cannot_be_written_is_out_of_reach(bodies: ObstoreBodies, folder: Path) -> None:
    """A disk that refuses is UnavailableError in one line, for each of the three."""
    (folder / "responses").write_text("in the way")
    with pytest.raises(UnavailableError, match=f"body {KEY}") as caught:
        await bodies.put(KEY, chunks(b"x"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UnavailableError):
        await read(bodies)


@pytest.mark.usefixtures("bodies")
def test_only_its_owner_reads_the_folder(folder: Path) -> None:
    """A folder that is made here is nobody else's to look into."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_file_and_folders_are_synced_before_put_returns(bodies: ObstoreBodies, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file comes first, then every folder that leads to it."""
    synced: list[Path] = []
    monkeypatch.setattr(bodies_module, "_sync", synced.append)
    await bodies.put(KEY, chunks(b"x"))
    assert synced == [folder / KEY, folder / "responses", folder]


@pytest.mark.parametrize("url", ["", "bodies", "ftp://x/y", "file://host/x", "file://", "file:///"])
def test_a_url_of_no_known_kind_is_refused(url: str) -> None:
    """The error names what was given and what would be right."""
    with pytest.raises(CallerMistake, match=r"file:///absolute/path"):
        open_bodies(url)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the folder's place is said."""
    (tmp_path / "bodies").write_text("in the way")
    with pytest.raises(UnavailableError, match=str(tmp_path)):
        ObstoreBodies(tmp_path / "bodies")


FLAT = """
import asyncio, resource, sys
from longcall.stores.bodies import open_bodies

async def chunks(count):
    for _ in range(count):
        yield b"x" * 65536

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform == "linux" else 1024)

async def main():
    bodies = open_bodies(sys.argv[1])
    await bodies.put("warm", chunks(16))
    before = peak()
    await bodies.put("large", chunks(1024))
    size = 0
    async for chunk in bodies.open("large"):
        size += len(chunk)
    print(size, peak() - before)

asyncio.run(main())
"""


def test_a_body_of_any_length_takes_little_memory(tmp_path: Path) -> None:
    """Putting and reading 64 MiB takes less than 24 MiB more than 1 MiB did."""
    url = f"file://{tmp_path}/bodies"
    done = subprocess.run([sys.executable, "-c", FLAT, url], capture_output=True, text=True, check=True)
    size, grown_kib = map(int, done.stdout.split())
    assert size == 64 * 1024 * 1024
    assert grown_kib < 24 * 1024
