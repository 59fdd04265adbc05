"""What people see: the same commands on a terminal."""

import asyncio
import os
import pty
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from longcall import AsyncLongcall
from longcall.sdk.server import new_id
from tests.sdk.service import Service
from tests.sdk.states import bring, in_a_week
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


@dataclass(frozen=True)
class Screen:
    """What was written to the terminal, with its colours, and the exit code."""

    raw: str
    code: int

    @property
    def text(self) -> str:
        """Without colours and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r\n", "\n")


@pytest.fixture
def on_terminal(up: Service) -> Callable[..., Awaitable[Screen]]:
    """Run `longcall …` on a terminal of its own, 100 columns wide."""

    def run(*arguments: str, typed: bytes = b"", **more: str) -> Screen:
        known = {"LONGCALL_URL": up.api, "COLUMNS": "100", "TERM": "xterm-256color", "NO_COLOR": ""}
        environ = {**os.environ, **known, **more}  # noqa: TID251 — a test gives its environment on
        terminal, theirs = pty.openpty()
        command = [sys.executable, "-m", "longcall", *arguments]
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True) as process:
            os.close(theirs)
            os.write(terminal, typed)
            shown = b""
            while chunk := _read(terminal):
                shown += chunk
        os.close(terminal)
        return Screen(shown.decode(), process.returncode)

    return lambda *arguments, **options: asyncio.to_thread(run, *arguments, **options)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so that the other side is gone
        return b""


async def flaky(line: Line) -> None:
    """Answer 503 once, then JSON."""
    await line.request()
    if len(line.seen) == 1:
        await line.answer(503, b"not yet")
    else:
        await line.answer(200, b'{"loss": 0.1}', "Content-Type: application/json")


async def test_a_wait_is_a_live_line_and_then_its_result(on_terminal: Callable[..., Awaitable[Screen]], serve: Start) -> None:
    """State, elapsed time and attempt while it lasts; then one sentence, and the JSON to read."""
    target = await serve(flaky)
    screen = await on_terminal("submit", target.url, "--wait", "--retry", "min=1s,max-backoff=1s,jitter=none")
    assert screen.code == 0
    assert re.search(r"WAITING  [\d.]+m?s  attempt 1 was answered 503, attempt 2 (in [\d.]+m?s|is due)", screen.text)
    assert "succeeded after " in screen.text
    assert '"loss": 0.1' in screen.text
    assert "\x1b[" in screen.raw


async def test_status_and_list_are_tables(on_terminal: Callable[..., Awaitable[Screen]], serve: Start) -> None:
    """Everything about a task on few lines, and the newest tasks below a header."""
    target, task_id = await serve(flaky), new_id()
    made = await on_terminal("submit", target.url, "--id", task_id, "--retry", "max=1", "--label", "team=ml", "--callback", target.url)
    assert f"wait for it with `longcall wait {task_id}`" in made.text
    assert (await on_terminal("wait", task_id)).code == 1
    status = (await on_terminal("status", task_id)).text
    assert status.startswith(f"{task_id}  FAILED\n")
    assert all(part in status for part in (f"POST {target.url}", "team=ml", "the target answered 503", "response 503", "ago)"))
    assert re.search(rf"callback +{re.escape(target.url)} ", status)
    listed = (await on_terminal("list", "--label", "team=ml")).text.splitlines()
    assert listed[0].split() == ["id", "state", "attempts", "age", "call"]
    assert all(len(line.rstrip()) <= 100 for line in listed)


async def test_a_watch_is_a_live_table(on_terminal: Callable[..., Awaitable[Screen]], serve: Start) -> None:
    """Where the task stands, its age and its last change while it goes on; its end stays there to be read."""
    target, task_id = await serve(flaky), new_id()
    await on_terminal("submit", target.url, "--id", task_id, "--retry", "min=1s,max-backoff=1s,jitter=none")
    screen = await on_terminal("watch", task_id)
    assert screen.code == 0
    lines = [line.split() for line in screen.text.splitlines()]
    assert ["id", "state", "age", "changed", "call"] in lines
    assert [task_id[:20], "SUCCEEDED"] == [lines[-2][0][:20], lines[-2][1]]
    assert lines[-1][:3] == ["0", "under", "way;"]
    assert "\x1b[" in screen.raw


async def test_what_is_overdue_is_a_table(on_terminal: Callable[..., Awaitable[Screen]], serve: Start, up: Service) -> None:
    """Why and which, and then how many of each; what is not there is one sentence."""
    task_id = await bring(up.api, serve, "FAILED", callback=(await serve(well_behaved)).url)
    async with AsyncLongcall(up.api) as client:
        told = f"{task_id}.callback-{(await client.get(task_id)).version}"
        await client.wait(told, "10s")
        await client.forget(told)
        shown = await on_terminal("requeue", "--dry-run")
        assert shown.text.splitlines()[0].split() == ["untold", task_id]
        assert "overdue, and left as they are: 0 waiting, 0 running without a runner, 1 whose end was not told" in shown.text
        await client.requeue()
        await client.wait(told, "10s")
    assert (await on_terminal("requeue")).text == "nothing is overdue\n"


@pytest.mark.parametrize(("typed", "code", "said"), [(b"y\n", 0, "2 of 2 tasks run again"), (b"n\n", 1, "nothing was changed")])
async def test_many_are_asked_about(on_terminal: Callable[..., Awaitable[Screen]], up: Service, typed: bytes, code: int, said: str) -> None:
    """Which, and how many; only a yes changes anything, with a bar while it lasts."""
    run = new_id()
    async with AsyncLongcall(up.api) as client:
        made = await client.submit_many([{"url": "http://127.0.0.1:9/", "labels": {"run": run}, "schedule_time": in_a_week()}] * 2)
        screen = await on_terminal("retry", "--state", "scheduled", "--label", f"run={run}", typed=typed)
        left = [each.id async for each in client.list(state="SCHEDULED", label=f"run:{run}")]
    assert (screen.code, "Run 2 tasks again? [y/n] (n)" in screen.text, said in screen.text) == (code, True, True)
    assert all(f"{each.id}  SCHEDULED  POST" in screen.text for each in made)
    assert len(left) == (0 if code == 0 else 2)
    assert ("running again" in screen.text) == (code == 0)


async def test_what_is_no_text_does_not_reach_the_terminal(on_terminal: Callable[..., Awaitable[Screen]], serve: Start) -> None:
    """Bytes are for files."""

    async def image(line: Line) -> None:
        await line.request()
        await line.answer(200, bytes(range(256)), "Content-Type: image/png")

    screen = await on_terminal("submit", (await serve(image)).url, "--wait")
    assert screen.code == 0
    assert "the answer is no text (200, image/png, 256 bytes)" in screen.text


async def test_doctor_shows_how_long_it_holds(on_terminal: Callable[..., Awaitable[Screen]], up: Service, serve: Start) -> None:
    """Levels have their colours, and a live line stands while the call is held, and goes."""

    async def silent(line: Line) -> None:
        await line.request()
        await line.gone()

    target = await serve(silent)
    store = f"sqlite:///{up.data / 'longcall.db'}"
    settings = {"LONGCALL_STORE": store, "LONGCALL_QUEUE_ENDPOINT": up.rest, "LONGCALL_ALLOW_PRIVATE_TARGETS": "true"}
    screen = await on_terminal("doctor", "--target", target.url, "--hold", "2", **settings)
    assert screen.code == 0
    assert "\x1b[32mok" in screen.raw
    assert "held for 1." in screen.text
    assert screen.text.rstrip().endswith("the line stood for 2.0 s without an end, and nothing cut it")


async def test_logs_are_lines_to_read(on_terminal: Callable[..., Awaitable[Screen]], serve: Start, up: Service) -> None:
    """The local time, the event in its colour, and what is known; each stays one line."""
    task_id = await bring(up.api, serve, "FAILED")
    screen = await on_terminal("logs", task_id)
    assert screen.code == 0
    lines = screen.text.splitlines()
    assert [line.split()[2] for line in lines] == ["task.accepted", "attempt.started", "attempt.settled", "task.finished"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  attempt\.started +attempt=1 runner=\S+", lines[1])
    assert 'why="the target answered 500"' in lines[2]
    assert "\x1b[" in screen.raw
