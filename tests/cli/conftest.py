"""The command line as people run it, and a server for it."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.sdk.service import Service, service


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Ended]]


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Everything, for all tests here; each makes tasks of its own."""
    with service(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


@pytest.fixture
def longcall(up: Service) -> Run:
    """Run `longcall …` with pipes, as a script does, against the server of these tests."""

    async def run(*arguments: str, given: bytes = b"", **environ: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "longcall", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LONGCALL_URL": up.api, **environ},  # noqa: TID251 — a test gives its environment on
        )
        out, err = await process.communicate(given)
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(errors="surrogateescape"), err.decode())

    return run
