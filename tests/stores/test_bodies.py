"""Bodies in a folder, beyond the contract."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longcall.core.errors import CallerMistake, UnavailableError
from longcall.stores import bodies_folder
from longcall.stores.bodies import open_bodies
from longcall.stores.bodies_base import ObstoreBodies
from longcall.stores.bodies_folder import FolderBodies, sweep
from tests.stores.bodies_contract import KEY, MIB, BodiesContract, chunks, read


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


class TestFolder(BodiesContract):
    """The contract, in a folder."""

    @pytest.fixture
    def again(self, bodies: ObstoreBodies, folder: Path) -> ObstoreBodies:  # noqa: ARG002 — it was there before
        """The same folder, opened anew."""
        return FolderBodies(folder)


@pytest.mark.parametrize("size", [1, 5_000_000])
async def test_a_body_that_breaks_off_leaves_no_file(bodies: ObstoreBodies, folder: Path, size: int) -> None:
    """What was written so far is deleted at once."""
    with pytest.raises(OSError, match="the line broke"):
        await bodies.put(KEY, chunks(b"x" * size, error=OSError("the line broke")))
    assert names_in(folder) in ([], ["responses"])


async def test_a_folder_that_cannot_be_written_is_out_of_reach(bodies: ObstoreBodies, folder: Path) -> None:
    """A disk that refuses is UnavailableError in one line, for each of the three."""
    (folder / "responses").write_text("in the way")
    with pytest.raises(UnavailableError, match=f"body {KEY}") as caught:
        await bodies.put(KEY, chunks(b"x"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UnavailableError):
        await read(bodies)


async def test_files_have_no_links(bodies: ObstoreBodies) -> None:
    """They are read through the API."""
    await bodies.put(KEY, chunks(b"x"))
    assert await bodies.link(KEY, 60) is None


@pytest.mark.usefixtures("bodies")
def test_only_its_owner_reads_the_folder(folder: Path) -> None:
    """A folder that is made here is nobody else's to look into."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_file_and_folders_are_synced_before_put_returns(bodies: ObstoreBodies, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file comes first, then every folder that leads to it."""
    synced: list[Path] = []
    monkeypatch.setattr(bodies_folder, "_sync", synced.append)
    await bodies.put(KEY, chunks(b"x"))
    assert synced == [folder / KEY, folder / "responses", folder]


@pytest.mark.parametrize(
    "url",
    ["", "bodies", "ftp://x/y", "s3://bucket/x", "file://host/x", "file://", "file:///", "gs://", "gs:///x", "gs://UP/x", "gs://a@bucket/x"]
    + [f"gs://bucket{rest}" for rest in ("/a//b", "/../b", "/a b", "/x?y", "/x#y", ":1/x")],
)
def test_a_url_of_no_known_kind_is_refused(url: str) -> None:
    """The error names what was given and what would be right."""
    with pytest.raises(CallerMistake, match=r"file:///absolute/path, or a bucket as gs://bucket/prefix"):
        open_bodies(url)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the folder's place is said."""
    (tmp_path / "bodies").write_text("in the way")
    with pytest.raises(UnavailableError, match=str(tmp_path)):
        FolderBodies(tmp_path / "bodies")


KILLED = """
import asyncio, os, signal, sys
from longcall.stores.bodies import open_bodies

async def dying():
    for _ in range(8):
        yield b"x" * 1048576
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(open_bodies(sys.argv[1]).put(sys.argv[2], dying()))
"""


async def test_what_a_killed_process_left_half_written_goes(bodies: ObstoreBodies, folder: Path) -> None:
    """Two days on; until then it may be another runner's, which writes to it. Whole bodies stay however old they are."""
    await bodies.put(KEY, chunks(b"whole"))
    url = f"file://{folder}".replace(" ", "%20")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, url, KEY)
    assert await process.wait() == -signal.SIGKILL
    (left,) = (name for name in names_in(folder) if "#" in name)
    sweep(folder)
    assert left in names_in(folder)
    for each in (folder / left, folder / KEY):
        os.utime(each, (0, time.time() - 49 * 3600))  # noqa: TID251 — the file system's own clock
    open_bodies(url)
    async with asyncio.timeout(10):
        while left in names_in(folder):  # noqa: ASYNC110 — another thread sweeps
            await asyncio.sleep(0.01)
    assert names_in(folder) == ["responses", KEY]
    assert await read(bodies) == b"whole"


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
    assert size == 64 * MIB
    assert grown_kib < 24 * 1024
