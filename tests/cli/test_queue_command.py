"""`longcall queue` as others use it: its options, its environment, and the parts it needs."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.conftest import Run

WITHOUT = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("asyncpg", "fastapi", "obstore"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
from longcall.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
LOCATION = "projects/p/locations/l"


@asynccontextmanager
async def _queue(*arguments: str, **environ: str) -> AsyncIterator[str]:
    """Run it in a Python that has the parts of `longcall[queue]` only, and give its REST address."""
    process: Process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", WITHOUT, "queue", "--grpc-port", "0", "--rest-port", "0", "--json", *arguments),
        stdout=PIPE,
        env={**os.environ, **environ},  # noqa: TID251 — a test gives its environment on
    )
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["rest"]
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _queues(rest: str) -> list[str]:
    async with aiohttp.ClientSession() as http, http.get(f"{rest}/v2/{LOCATION}/queues?fields=queues.name") as answer:
        return [queue["name"].rpartition("/")[2] for queue in (await answer.json()).get("queues", [])]


async def test_queues_to_make(tmp_path: Path) -> None:
    """`--queue` makes queues, again and again; what is kept is there without it, and `--memory` keeps nothing."""
    data = ("--data", str(tmp_path / "data"))
    for _ in range(2):
        async with _queue(*data, "--queue", f"{LOCATION}/queues/a", "--queue", f"{LOCATION}/queues/b") as rest:
            assert await _queues(rest) == ["a", "b"]
    async with _queue(*data) as rest:
        assert await _queues(rest) == ["a", "b"]
    async with _queue("--memory") as rest:
        assert await _queues(rest) == []


@pytest.mark.parametrize("between", [",", " ", ", "])
async def test_queues_from_the_environment(between: str) -> None:
    """INITIAL_QUEUES has names with commas or blanks between them."""
    names = between.join([f"{LOCATION}/queues/a", f"{LOCATION}/queues/b"])
    async with _queue("--memory", INITIAL_QUEUES=names) as rest:
        assert await _queues(rest) == ["a", "b"]


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_app_engine_from_the_environment(scheme: str) -> None:
    """APP_ENGINE_EMULATOR_HOST says where App Engine tasks go, as a host or as a URL."""
    came: asyncio.Queue[str] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.put_nowait((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host = f"{scheme}127.0.0.1:{server.sockets[0].getsockname()[1]}"
        name = f"{LOCATION}/queues/a"
        async with _queue("--memory", "--queue", name, APP_ENGINE_EMULATOR_HOST=host) as rest, aiohttp.ClientSession() as http:
            task: dict[str, Any] = {"task": {"appEngineHttpRequest": {"relativeUri": "/work"}}}
            async with http.post(f"{rest}/v2/{name}/tasks", json=task) as answer:
                assert answer.status == 200
            assert await came.get() == "POST /work HTTP/1.1\r\n"


async def test_the_issuer_has_a_name() -> None:
    """`--issuer` is what the discovery document names."""
    async with _queue("--memory", "--issuer", "https://accounts.google.com") as rest, aiohttp.ClientSession(rest) as http:
        configuration = await (await http.get("/.well-known/openid-configuration")).json()
    assert configuration["issuer"] == "https://accounts.google.com"


async def test_a_name_that_is_none(longcall: Run) -> None:
    """A wrong queue name is said in one sentence, with the right form."""
    ended = await longcall("queue", "--memory", "--queue", "emails")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith('longcall: --queue emails: Queue name must be formatted: "projects/<PROJECT_ID>')
