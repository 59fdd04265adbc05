"""Bodies of any size through a whole runner, whose memory is looked at from outside."""

import asyncio
import base64
import hashlib
import io
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.bucket import NAME, Bucket
from tests.end_to_end.fleet import Fleet, Part, fleet
from tests.target import Line, Serve, Target

Start = Callable[[Serve], Awaitable[Target]]
MIB = 1024 * 1024
GIB = 1024 * MIB
MOST_GROWTH = 32 * 1024  # KiB
PIECE = os.urandom(4 * MIB)


class Much:
    """A target that answers as many bytes as the path says, no two pieces alike, said to be packed if the path says so."""

    def __init__(self) -> None:
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()

    async def __call__(self, line: Line) -> None:
        """Take one request and answer it."""
        seen = await line.request()
        self.sent, self.received = hashlib.sha256(), hashlib.sha256(seen.body)
        _, asked, *packed = seen.line.split()[1].split("/")
        lines = ["HTTP/1.1 200 OK", f"Content-Length: {asked}", *["Content-Encoding: br"][: len(packed)]]
        await line.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        for start in range(0, int(asked), len(PIECE)):
            piece = (start.to_bytes(8, "big") + PIECE[8:])[: int(asked) - start]
            await asyncio.to_thread(self.sent.update, piece)
            await line.send(piece)


class Memory:
    """By how much a process grows, as the kernel counts it."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")
        if not self._proc.is_dir():
            pytest.skip("only Linux tells the memory of another process")
        (self._proc / "clear_refs").write_text("5")  # the peak counts from now: proc_pid_clear_refs(5)
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        """By how many KiB it was larger at its peak."""
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


async def run(api: str, url: str, task_id: str, body: bytes = b"") -> dict[str, Any]:
    """Have a URL called, and wait for the end."""
    asked = io.BytesIO(json.dumps({"id": task_id, "httpRequest": {"url": url, "body": base64.b64encode(body).decode()}}).encode())
    async with aiohttp.ClientSession(api) as http:
        async with http.post("/v1/tasks", data=asked, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 201, await answer.text()
        async with http.get(f"/v1/tasks/{task_id}?wait=60s") as answer:
            task: dict[str, Any] = await answer.json()
    assert task["state"] == "SUCCEEDED", task
    return task


async def read_back(api: str, task_id: str) -> tuple[int, str, list[str]]:
    """Size and SHA-256 of a response, read as anybody reads it, and the paths it was looked for at."""
    digest, size = hashlib.sha256(), 0
    async with aiohttp.ClientSession(api, auto_decompress=False) as http, http.get(f"/v1/tasks/{task_id}/response") as answer:
        assert (answer.status, answer.headers["Content-Disposition"]) == (200, "attachment")
        async for chunk in answer.content.iter_chunked(MIB):
            size += len(chunk)
            await asyncio.to_thread(digest.update, chunk)
        return size, digest.hexdigest(), [each.url.path for each in (*answer.history, answer)]


async def through(runner: Part, target: Target, much: Much, kind: str) -> None:
    """A GiB into a runner and out of it again, and 20 MiB the other way."""
    api, pid, base = runner.ready["api"], runner.process.pid, target.url.removesuffix("/train")
    await run(api, f"{base}/1000", "warm")
    await read_back(api, "warm")
    memory = Memory(pid)
    task = await run(api, f"{base}/{GIB}/packed", "large")
    kept = memory.growth()
    expected = (GIB, much.sent.hexdigest())
    assert (task["response"]["size"], task["response"]["sha256"], task["response"]["truncated"]) == (*expected, False)
    memory = Memory(pid)
    assert await read_back(api, "large") == (*expected, ["/v1/tasks/large/response"])
    read = memory.growth()
    print(f"{kind}: grown by {kept} KiB while it came, by {read} KiB while it was read")  # noqa: T201 — figures to look at with -s
    assert kept <= MOST_GROWTH
    assert read <= MOST_GROWTH
    body = PIECE * 5
    await run(api, f"{base}/0", "twenty", body)
    assert much.received.digest() == hashlib.sha256(body).digest()


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A queue, and room for large bodies that is given back at the end."""
    async with fleet(tmp_path) as running:
        yield running
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_gib_goes_through_a_folder(serve: Start, parts: Fleet) -> None:
    """A response of 1 GiB is kept and read whole, by its size and its SHA-256, and the runner grows by at most 32 MiB."""
    much = Much()
    runner = await parts.runner(MAX_RESPONSE_BYTES=str(GIB))
    await through(runner, await serve(much), much, "folder")


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_gib_goes_through_a_bucket(serve: Start, parts: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in Google Cloud Storage; what is not packed is read from there without passing the runner again."""
    much = Much()
    target = await serve(much)
    (parts.folder / "bucket").mkdir()
    async with Bucket(parts.folder / "bucket").serving() as bucket:
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", bucket.credentials())
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT", "GOOGLE_BASE_URL"):
            monkeypatch.delenv(name, raising=False)
        runner = await parts.runner(MAX_RESPONSE_BYTES=str(GIB), BODIES=f"gs://{NAME}/large")
        await through(runner, target, much, "bucket")
        await run(runner.ready["api"], f"{target.url.removesuffix('/train')}/{12 * MIB}", "linked")
        size, digest, way = await read_back(runner.ready["api"], "linked")
    assert (size, digest) == (12 * MIB, much.sent.hexdigest())
    assert [each.partition("/responses/")[0] for each in way] == ["/v1/tasks/linked/response", f"/{NAME}/large"]
