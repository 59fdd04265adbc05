"""What README and the pages show is run as it stands, on other ports: each page from its first snippet to its last."""

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.end_to_end.program import environment
from tests.google import free_port
from tests.snippets import ACTED, PAGES, ROOT, Snippet, snippets

PORTS = ("8080", "8123", "8124", "9000", "9001")  # those of the pages: the API, the queue twice, a target, a receiver
UP = "longcall up"


@dataclass
class Story:
    """One page while it is run: its folder, its ports, what still runs, and what was printed last."""

    folder: Path
    ports: dict[str, str] = field(default_factory=lambda: {port: str(free_port()) for port in PORTS})
    running: list[asyncio.subprocess.Process] = field(default_factory=list)
    printed: str = ""

    def moved(self, text: str) -> str:
        """The same text for the ports that are free."""
        text = re.sub(rf"{UP}(?= *(?:#|$))", f"{UP} --port 8080 --grpc-port 8123 --rest-port 8124", text, flags=re.MULTILINE)
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self.ports[port[0]], text)

    async def tell(self, snippet: Snippet) -> None:
        """Do with a snippet what it is for."""
        text = self.moved(snippet.text)
        match snippet.role:
            case "file":
                (self.folder / snippet.words).write_text(text)
            case "stays":
                await self._start(text)
            case "run":
                await self._run(snippet, text)
            case _:
                expected = ".*".join(re.escape(part) for part in text.strip().split("…"))
                assert re.fullmatch(expected, self.printed.strip(), re.DOTALL), f"{snippet.place}\n{self.printed}"

    async def _run(self, snippet: Snippet, text: str) -> None:
        command = [sys.executable, "-W", "error", "-c", text] if snippet.language == "python" else ["bash", "-euo", "pipefail", "-c", text]
        process = await self._process(*command, output=asyncio.subprocess.PIPE)
        out, said = await asyncio.wait_for(process.communicate(), 40)
        self.printed = out.decode()
        expected = int(snippet.words.removeprefix("exit=") or "0")
        assert process.returncode == expected, f"{snippet.place}\n{self.printed}\n{said.decode()}\n{self.log()}"

    async def _start(self, text: str) -> None:
        """Start each line that is a command; lines that prepare go before the first."""
        with (self.folder / "log.txt").open("ab") as log:
            self.running.append(await self._process("bash", "-ec", text, output=log.fileno()))
        for port in set(re.findall(r"\b\d{4,5}\b", text)) & set(self.ports.values()):
            await self._listens(int(port))

    async def _listens(self, port: int) -> None:
        for _ in range(400):
            assert self.running[-1].returncode is None, self.log()
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"nothing listens at {port}\n{self.log()}")

    async def _process(self, *command: str, output: int) -> asyncio.subprocess.Process:
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # noqa: TID251 — a child needs it
        address = {"LONGCALL_URL": f"http://127.0.0.1:{self.ports['8080']}"}
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            stdout=output,
            stderr=asyncio.subprocess.PIPE if output == asyncio.subprocess.PIPE else output,
            env=environment() | address | {"PATH": tools, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    def log(self) -> str:
        """What the servers said."""
        log = self.folder / "log.txt"
        return log.read_text()[-4000:] if log.exists() else ""

    async def end(self) -> None:
        """End every server with what it started."""
        for process in self.running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


STORIES = [page for page in PAGES if any(each.role in ACTED for each in snippets(page))]


@pytest.mark.parametrize("page", STORIES, ids=lambda page: page.stem)
async def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    """From top to bottom, as somebody who follows it would."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    acted = [each for each in snippets(page) if each.role in ACTED]
    story = Story(tmp_path)
    try:
        if not any(UP in each.text for each in acted if each.role == "stays"):
            await story.tell(Snippet(page, 0, "stays", "", "sh", UP))
        for each in acted:
            await story.tell(each)
    finally:
        await story.end()


def test_pages_are_found() -> None:
    """At least these have something to run."""
    assert {page.relative_to(ROOT).as_posix() for page in STORIES} >= {"README.md", "docs/quickstart.md", "docs/how-to/callbacks.md"}
