"""`longcall watch` with pipes: a line for each change."""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest

from longcall.core.text import parse_time
from longcall.sdk.server import new_id
from tests.cli.conftest import Run
from tests.end_to_end.program import environment
from tests.sdk.service import Service
from tests.sdk.states import bring, failing, hanging
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


async def flaky(line: Line) -> None:
    """Answer 503 once, then well."""
    await line.request()
    await line.answer(503 if len(line.seen) == 1 else 200)


async def watching(up: Service, *arguments: str) -> asyncio.subprocess.Process:
    """Start `longcall watch …`, which prints each line at once."""
    command = (sys.executable, "-m", "longcall", "watch", *arguments)
    env = environment() | {"LONGCALL_URL": up.api}
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env)


async def line_of(process: asyncio.subprocess.Process) -> str:
    """The next line."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode()


async def test_a_task_is_watched_to_its_end(longcall: Run, serve: Start) -> None:
    """When, which, where it stands, attempts, and a word; exit code 0 for what succeeded."""
    target, task_id = await serve(flaky), new_id()
    await longcall("submit", target.url, "--id", task_id, "--retry", "min=5s,max-backoff=5s,jitter=none")
    ended = await longcall("watch", task_id)
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert [parse_time(when) for when, *_ in lines] == sorted(parse_time(when) for when, *_ in lines)
    assert {named for _, named, *_ in lines} == {task_id}
    assert lines[-1][2:] == ["SUCCEEDED", "2", "200, 2 bytes"]
    assert any(line[2] == "WAITING" and line[4].startswith("attempt 1 was answered 503, attempt 2 ") for line in lines)


async def test_several_are_watched_to_their_ends(longcall: Run, serve: Start, up: Service) -> None:
    """All of them end, each is told once that it has, and one that failed makes it exit code 1."""
    good, bad = await bring(up.api, serve, "SUCCEEDED"), await bring(up.api, serve, "FAILED")
    ended = await longcall("watch", bad, good, bad, "--json")
    assert ended.code == 1
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert sorted((each["id"], each["state"]) for each in told) == sorted([(good, "SUCCEEDED"), (bad, "FAILED")])
    assert f"{bad} failed on attempt 1: the target answered 500" in ended.err


async def test_all_changes_are_told_until_ctrl_c(longcall: Run, serve: Start, up: Service) -> None:
    """What has not ended first, then what changes, each line at once; 130, and nothing else is said."""
    team = new_id()
    waiting = (await longcall("submit", (await serve(hanging)).url, "--label", f"team={team}")).out.strip()
    process = await watching(up, "--label", f"team={team}")
    assert (await line_of(process)).split("\t")[1] == waiting
    made = (await longcall("submit", (await serve(failing)).url, "--label", f"team={team}", "--retry", "max=1")).out.strip()
    while (line := (await line_of(process)).split("\t"))[2] != "FAILED":
        assert line[1] in {waiting, made}
    assert line[1:4] == [made, "FAILED", "1"]
    assert line[4].startswith("status: the target answered 500")
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, out, err) == (130, b"", b"")
    await longcall("cancel", waiting)


async def test_ctrl_c_says_how_to_go_on(longcall: Run, serve: Start, up: Service) -> None:
    """The task that was watched goes on."""
    task_id = (await longcall("submit", (await serve(hanging)).url)).out.strip()
    process = await watching(up, task_id)
    await line_of(process)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 130
    assert f"the task goes on; wait for it with `longcall wait {task_id}`" in err.decode()
    await longcall("cancel", task_id)


async def test_a_filter_by_state(longcall: Run, serve: Start, up: Service) -> None:
    """Only what is in this state as it changes."""
    team = new_id()
    process = await watching(up, "--state", "succeeded", "--label", f"team={team}", "--json")
    await asyncio.sleep(1.5)
    made = (await longcall("submit", (await serve(well_behaved)).url, "--label", f"team={team}")).out.strip()
    shown = json.loads(await line_of(process))
    assert (shown["id"], shown["state"]) == (made, "SUCCEEDED")
    process.kill()
    await process.communicate()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("x", "--state", "failed"), 2, "--state: it picks among all tasks, so it goes without ids"),
        (("--state", "fialed"), 2, "did you mean failed?"),
        (("--url", "http://127.0.0.1:9"), 3, "nothing answers at http://127.0.0.1:9"),
        (("x", "--url", "http://127.0.0.1:9"), 3, "nothing answers at http://127.0.0.1:9"),
    ],
)
async def test_what_can_t_be_watched_is_said(longcall: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    """One sentence and the exit code of its kind."""
    ended = await longcall("watch", *arguments)
    assert (ended.code, ended.out, said in ended.err, "Traceback" in ended.err) == (code, "", True, False)
