"""What README shows is run as it stands, on other ports."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.end_to_end.program import Up, environment, up
from tests.target import Serve, Target, well_behaved

ROOT = Path(__file__).parent.parent.parent
Start = Callable[[Serve], Awaitable[Target]]


def snippets(language: str, containing: str) -> str:
    """The code block of README that contains a text."""
    (found,) = (
        block for block in re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if containing in block
    )
    return str(found)


def moved(text: str, running: Up, target: Target) -> str:
    """The same text for the ports that are in use."""
    text = text.replace("http://127.0.0.1:8080", running.api).replace("127.0.0.1:8123", running.grpc)
    return text.replace("http://127.0.0.1:9000/", target.url)


async def output(running: Up, *command: str) -> str:
    """What a command prints; it must succeed and say nothing else."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment() | {"LONGCALL_URL": running.api}
    )
    printed, said = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, said.decode()) == (0, "")
    return printed.decode()


async def test_the_first_curl(serve: Start, tmp_path: Path) -> None:
    """Two curls: create, and wait for the end."""
    target = await serve(well_behaved)
    async with up(tmp_path / "data") as running:
        printed = await output(running, "bash", "-ec", moved(snippets("sh", "curl"), running, target))
    created, done = (json.loads(line) for line in printed.replace("}{", "}\n{").splitlines())
    assert (created["id"], done["state"], done["response"]["text"]) == ("first", "SUCCEEDED", "ok")


async def test_the_first_command(serve: Start, tmp_path: Path) -> None:
    """`longcall submit … --wait` prints the answer."""
    target = await serve(well_behaved)
    (command,) = re.findall(r"`\.venv/bin/longcall (submit .*)`", (ROOT / "README.md").read_text())
    async with up(tmp_path / "data") as running:
        printed = await output(running, "bash", "-ec", moved(f"{sys.executable} -m longcall {command} 2>/dev/null", running, target))
    assert printed.strip() == "ok"


async def test_the_first_python(serve: Start, tmp_path: Path) -> None:
    """The SDK's snippet prints the answer."""
    target = await serve(well_behaved)
    async with up(tmp_path / "data") as running:
        printed = await output(running, sys.executable, "-c", moved(snippets("python", "longcall.submit"), running, target))
    assert printed == "ok\n"


async def test_the_first_google_client(serve: Start, tmp_path: Path) -> None:
    """The snippet with Google's client puts a task that is called."""
    target = await serve(well_behaved)
    async with up(tmp_path / "data") as running:
        await output(running, sys.executable, "-W", "error", "-c", moved(snippets("python", "CloudTasksClient"), running, target))
        printed = await output(running, "curl", "-s", f"{running.api}/v1/tasks/by-hand?wait=10s")
    assert json.loads(printed)["state"] == "SUCCEEDED"
