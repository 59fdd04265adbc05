"""Every command with pipes, as scripts use it, against the whole of Longcall."""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from longcall.sdk.server import new_id
from tests.cli.conftest import Run
from tests.sdk.service import Service
from tests.sdk.states import failing, hanging, in_a_week
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


async def echo(line: Line) -> None:
    """Answer with what came."""
    seen = await line.request()
    await line.answer(200, seen.body, f"Content-Type: {seen.headers.get('content-type', 'text/plain')}")


async def test_submit_prints_the_id_and_wait_the_answer(longcall: Run, serve: Start) -> None:
    """`ID=$(longcall submit …)` works, and so does `longcall wait $ID | jq`."""
    target = await serve(echo)
    made = await longcall("submit", target.url, "-d", '{"a": 1.0}', "-H", "X-Run: 7", "--label", "team=ml", "--timeout", "45m")
    task_id = made.out.strip()
    assert (made.code, made.err) == (0, "")
    done = await longcall("wait", task_id)
    assert (done.code, done.out) == (0, '{"a": 1.0}')
    assert f"{task_id} succeeded after" in done.err
    assert (target.seen[0].headers["x-run"], target.seen[0].headers["content-type"]) == ("7", "application/json")
    shown = json.loads((await longcall("status", task_id, "--json")).out)
    assert (shown["labels"], shown["attemptTimeout"]) == ({"team": "ml"}, "2700s")


async def test_submit_takes_files_and_standard_input(longcall: Run, serve: Start, tmp_path: Path) -> None:
    """What is no JSON goes as it is, and what only looks like it is warned of."""
    target = await serve(echo)
    (tmp_path / "body").write_bytes(b"\x00\xff")
    filed = await longcall("submit", target.url, "-d", f"@{tmp_path / 'body'}", "-X", "put", "--wait")
    assert (filed.code, filed.out.encode(errors="surrogateescape")) == (0, b"\x00\xff")
    assert (target.seen[0].line.split()[0], target.seen[0].body) == ("PUT", b"\x00\xff")
    piped = await longcall("submit", target.url, "-d", "-", "--wait", given=b'{"a": ')
    assert (piped.code, piped.out) == (0, '{"a": ')
    assert "looks like JSON and is none" in piped.err


async def test_a_failure_is_exit_code_1(longcall: Run, serve: Start) -> None:
    """The reason and the target's last words on standard error, nothing on standard output; with --json, the task."""
    target = await serve(failing)
    failed = await longcall("submit", target.url, "--retry", "max=1", "--wait")
    assert (failed.code, failed.out) == (1, "")
    assert "failed on attempt 1: the target answered 500" in failed.err
    assert "no disk left" in failed.err
    assert "Traceback" not in failed.err
    shown = await longcall("submit", target.url, "--retry", "max=1", "--wait", "--json")
    assert (shown.code, json.loads(shown.out)["state"]) == (1, "FAILED")


async def test_a_wait_that_is_over_is_exit_code_4(longcall: Run, serve: Start) -> None:
    """The task goes on, and how to wait on is said."""
    task_id = (await longcall("submit", (await serve(hanging)).url)).out.strip()
    over = await longcall("wait", task_id, "--timeout", "0.3s")
    assert (over.code, over.out) == (4, "")
    assert f"wait on with `longcall wait {task_id}`" in over.err
    status = await longcall("status", task_id)
    assert "state: RUNNING\n" in status.out
    assert "attempt 1: running" in status.out


async def test_ctrl_c_leaves_the_task_running(longcall: Run, serve: Start, up: Service) -> None:
    """Exit code 130, and how to wait for the task is printed."""
    target, task_id = await serve(hanging), new_id()
    waiting = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "longcall", "submit", target.url, "--id", task_id, "--wait", "--url", up.api),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert waiting.stderr is not None
    assert b"SCHEDULED" in await waiting.stderr.readline()
    await target.called.wait()
    waiting.send_signal(signal.SIGINT)
    _, err = await waiting.communicate()
    assert waiting.returncode == 130
    assert f"the task goes on; wait for it with `longcall wait {task_id} --url {up.api}`" in err.decode()
    assert json.loads((await longcall("status", task_id, "--json")).out)["state"] == "RUNNING"


async def test_no_such_task_is_exit_code_5(longcall: Run) -> None:
    """One sentence."""
    missing = await longcall("status", "nothing-of-the-kind")
    assert (missing.code, missing.out, missing.err) == (
        5,
        "",
        "longcall: there is no task nothing-of-the-kind; `longcall list` shows those there are\n",
    )


async def test_nobody_there_is_exit_code_3(longcall: Run) -> None:
    """What to do is said, for each command."""
    nowhere = "http://127.0.0.1:9"
    commands = (("status", "x"), ("list",), ("submit", "http://a"), ("cancel", "x"), ("retry", "x"), ("requeue",))
    ends = await asyncio.gather(*(longcall(*command, "--url", nowhere) for command in commands))
    said = f"longcall: nothing answers at {nowhere} (Connection refused): start it with `longcall up`, or give --url\n"
    assert [(end.code, end.err) for end in ends] == [(3, said)] * len(commands)


async def test_a_proxy_or_a_website_is_told_from_longcall(longcall: Run, serve: Start) -> None:
    """Something that answers and is not ours is exit code 3, and is said."""
    target = await serve(well_behaved)
    other = await longcall("status", "x", "--url", f"http://127.0.0.1:{target.port}")
    assert other.code == 3
    assert "is not Longcall's API" in other.err


async def test_what_the_server_refuses_is_exit_code_2(longcall: Run, serve: Start) -> None:
    """Its fields are named as options; the same id with other content is one of them."""
    refused = await longcall("submit", "ftp://a", "--timeout", "99h")
    assert refused.code == 2
    assert "URL: a URL starts with http" in refused.err
    assert "--timeout: it must be" in refused.err
    target, task_id = await serve(well_behaved), new_id()
    assert (await longcall("submit", target.url, "--id", task_id)).code == 0
    differs = await longcall("submit", target.url, "--id", task_id, "--timeout", "1m")
    assert (differs.code, differs.out) == (2, "")
    assert "differs in --timeout: give another --id" in differs.err


async def test_list_is_a_line_a_task(longcall: Run, serve: Start) -> None:
    """Tabs for scripts, a line of JSON when asked for; filters and the limit hold."""
    target, run = await serve(well_behaved), new_id()[:8]
    made = [(await longcall("submit", target.url, "--label", f"run={run}", "--wait", "--json")).out for _ in range(3)]
    ids = [json.loads(each)["id"] for each in made][::-1]
    listed = await longcall("list", "--label", f"run={run}", "--state", "succeeded", "--limit", "2")
    rows = [line.split("\t") for line in listed.out.splitlines()]
    assert [(row[0], row[1], row[2], *row[4:]) for row in rows] == [(each, "SUCCEEDED", "1", "POST", target.url) for each in ids[:2]]
    lines = (await longcall("list", "--label", f"run={run}", "--json")).out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    assert (await longcall("list", "--label", f"run={run}", "--state", "failed")).out == ""


async def test_warnings_go_to_standard_error(longcall: Run) -> None:
    """The id alone is on standard output."""
    warned = await longcall("submit", "https://train.run.app/x", "--schedule", in_a_week().isoformat())
    assert (warned.code, len(warned.out.split())) == (0, 1)
    assert "warning: Cloud Run ends a request" in warned.err
