"""`longcall retry` of many at once, as scripts use it."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from longcall import AsyncLongcall, RetryPolicy
from longcall.sdk.server import new_id
from tests.cli.conftest import Run
from tests.sdk.service import Service
from tests.sdk.states import ONCE, failing, in_a_week, until
from tests.target import Line, Serve, Target

Start = Callable[[Serve], Awaitable[Target]]
AS_JSON = "Content-Type: application/json"
WHEN = "2026-11-24T12:00:00Z"


async def make_failed(api: str, url: str, run: str, count: int, retry: RetryPolicy = ONCE) -> list[str]:
    """Failed tasks under a label; the newest first."""
    async with AsyncLongcall(api) as client:
        made = await client.submit_many([{"url": url, "labels": {"run": run}, "retry": retry}] * count)

        async def have_failed() -> bool:
            return len([each async for each in client.list(state="FAILED", label=f"run:{run}")]) == count

        await until(have_failed)
        assert len(made) == count
        return [each.id async for each in client.list(label=f"run:{run}")]


async def test_a_pipe_is_shown_what_would_run_and_needs_yes(longcall: Run, serve: Start, up: Service) -> None:
    """How many and the first five on standard error, exit code 2, and nothing is changed."""
    target, run = await serve(failing), new_id()
    ids = await make_failed(up.api, target.url, run, 7)
    asked = await longcall("retry", "--label", f"run={run}")
    assert (asked.code, asked.out) == (2, "")
    lines = asked.err.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ids[:5]
    assert lines[5:] == ["  … and 2 more", "longcall: 7 tasks would run again: give --yes"]
    assert len(target.seen) == 7


async def test_all_that_the_filters_pick_run_again(longcall: Run, serve: Start, up: Service) -> None:
    """Over every page; the ids on standard output; one that is not picked stays as it is."""
    target, run = await serve(failing), new_id()
    ids, (other,) = await make_failed(up.api, target.url, run, 3), await make_failed(up.api, target.url, new_id(), 1)
    done = await longcall("retry", "--state", "failed", "--label", f"run:{run}", "--yes")
    assert (done.code, done.out.split(), done.err) == (0, ids, "3 of 3 tasks run again\n")
    async with AsyncLongcall(up.api) as client:

        async def ran_again() -> bool:
            return all([len((await client.get(each)).attempts) == 2 for each in ids])

        await until(ran_again)
        assert len((await client.get(other)).attempts) == 1


async def test_failed_ones_when_no_state_is_given(longcall: Run, up: Service) -> None:
    """What waits for its time is left alone; asked for, it runs now, and --json has each task."""
    run = new_id()
    async with AsyncLongcall(up.api) as client:
        waiting = await client.submit("http://127.0.0.1:9/", labels={"run": run}, schedule_time=in_a_week(), retry=ONCE)
    left = await longcall("retry", "--label", f"run={run}", "--yes")
    assert (left.code, left.err) == (0, "no task is like that, and nothing was changed\n")
    done = await longcall("retry", "--state", "scheduled", "--label", f"run={run}", "--yes", "--json")
    assert done.code == 0
    assert json.loads(done.out)["id"] == waiting.id


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "ID: give a task's id, or pick tasks"),
        (("x", "--state", "failed"), "ID: give either"),
        (("--label", "a=b", "--wait"), "--wait: "),
        (("--state", "running"), "--state: what is RUNNING is not run again"),
        (("--state", "fialed"), "did you mean failed?"),
    ],
)
async def test_what_does_not_go_together_is_exit_code_2(longcall: Run, arguments: tuple[str, ...], said: str) -> None:
    """One sentence that names the option."""
    ended = await longcall("retry", *arguments)
    assert (ended.code, ended.out, said in ended.err) == (2, "", True), ended.err


def answering(*last: tuple[int, bytes]) -> Callable[[Line], Awaitable[None]]:
    """A server with two pages of two failed tasks, that answers retries with these in turn."""
    answers = iter(last)

    def shown(task_id: str) -> dict[str, object]:
        return {"id": task_id, "state": "FAILED", "version": 1, "createTime": WHEN, "updateTime": WHEN, "attemptCount": 1}

    async def serve_one(line: Line) -> None:
        path = (await line.request()).line.split()[1]
        if ":retry" in path:
            status, body = next(answers)
            good = {**shown(path.split("/")[-1].removesuffix(":retry")), "state": "WAITING"}
            await line.answer(status, body or json.dumps(good).encode(), "Content-Type: application/problem+json" if body else AS_JSON)
        else:
            names, token = (("c", "d"), "") if "pageToken" in path else (("a", "b"), "more")
            await line.answer(200, json.dumps({"tasks": [shown(each) for each in names], "nextPageToken": token}).encode(), AS_JSON)

    return serve_one


async def test_one_that_can_not_be_run_again_is_exit_code_1(longcall: Run, serve: Start) -> None:
    """It is named with the reason, and the others run."""
    refusal = json.dumps({"code": "FAILED_PRECONDITION", "detail": "task b has SUCCEEDED"}).encode()
    target = await serve(answering((200, b""), (409, refusal), (200, b""), (200, b"")))
    ended = await longcall("retry", "--reason", "status", "--yes", "--url", f"http://127.0.0.1:{target.port}")
    assert (ended.code, ended.out.split()) == (1, ["a", "c", "d"])
    assert ended.err == "longcall: b: task b has SUCCEEDED\n3 of 4 tasks run again; 1 do not\n"


async def test_a_token_that_is_not_taken_ends_it(longcall: Run, serve: Start) -> None:
    """Exit code 3, with how far it came."""
    target = await serve(answering((200, b""), (401, b"{}")))
    ended = await asyncio.wait_for(longcall("retry", "--state", "failed", "--yes", "--url", f"http://127.0.0.1:{target.port}"), 20)
    assert (ended.code, ended.out.split()) == (3, ["a"])
    assert ended.err.startswith("1 of 4 tasks run again; 3 are left as they are\n")
    assert "wants a token" in ended.err
