"""cancel, retry, requeue, keygen and callbacks with pipes, as scripts use them, against the whole of Longcall."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from longcall import AsyncLongcall, TaskCancelled, TaskFailed, webhooks
from longcall.core.access import Caller, Right, Token, digest, holder, token_text, tokens_from_text
from longcall.core.signing import key_of
from tests.cli.conftest import Run
from tests.sdk.service import Service
from tests.sdk.states import STATES, bring
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


@pytest.mark.parametrize("state", STATES)
async def test_cancel_in_each_state(longcall: Run, serve: Start, up: Service, state: str) -> None:
    """What waits ends, what runs is asked to stop, what is cancelled stays so; what is over is exit code 2 with the server's sentence."""
    task_id = await bring(up.api, serve, state)
    ended = await longcall("cancel", task_id)
    said = {
        "RUNNING": f"{task_id} is asked to stop: its call is closed within two seconds, and its target may go on working\n",
        "SUCCEEDED": f"longcall: task {task_id} has SUCCEEDED, so there is nothing to cancel\n",
        "FAILED": f"longcall: task {task_id} has FAILED, so there is nothing to cancel\n",
    }.get(state, f"{task_id} is cancelled\n")
    assert (ended.code, ended.out, ended.err) == (2 if state in {"SUCCEEDED", "FAILED"} else 0, "", said)
    async with AsyncLongcall(up.api) as client:
        with suppress(TaskFailed, TaskCancelled):
            await client.wait(task_id, "10s")
        assert (await client.get(task_id)).state == (state if ended.code else "CANCELLED")


async def test_retry_waits_for_the_new_end(longcall: Run, serve: Start) -> None:
    """The answer on standard output; the status has the whole history."""

    async def failing_once(line: Line) -> None:
        await line.request()
        await line.answer(500 if len(line.seen) == 1 else 200, b"at last")

    target = await serve(failing_once)
    task_id = (await longcall("submit", target.url, "--retry", "max=1")).out.strip()
    assert (await longcall("wait", task_id)).code == 1
    again = await longcall("retry", task_id, "--wait")
    assert (again.code, again.out) == (0, "at last")
    status = (await longcall("status", task_id)).out
    assert "state: SUCCEEDED\n" in status
    assert "attempt 1: response 500," in status
    assert "attempt 2: response 200," in status


async def test_retry_says_how_to_wait(longcall: Run, serve: Start, up: Service) -> None:
    """Which attempt is due and the command that waits for it; a running task is left as it is; with --json, the task."""
    waiting, running = await bring(up.api, serve, "WAITING"), await bring(up.api, serve, "RUNNING")
    due = await longcall("retry", waiting)
    assert (due.code, due.out, due.err) == (0, "", f"{waiting} is due now, for attempt 2; wait for it with `longcall wait {waiting}`\n")
    left = await longcall("retry", running)
    assert (left.code, f"{running} is running, on attempt 1, and nothing was changed" in left.err) == (0, True)
    assert json.loads((await longcall("retry", running, "--json")).out)["state"] == "RUNNING"


async def test_a_success_is_not_run_again(longcall: Run, serve: Start, up: Service) -> None:
    """Exit code 2 with the server's sentence."""
    task_id = await bring(up.api, serve, "SUCCEEDED")
    refused = await longcall("retry", task_id, "--wait")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"longcall: task {task_id} has SUCCEEDED: it can't be run again; create another one\n"


async def test_no_such_task_is_exit_code_5(longcall: Run) -> None:
    """One sentence, for each command."""
    ends = await asyncio.gather(*(longcall(command, "nothing-of-the-kind") for command in ("cancel", "retry")))
    assert [(end.code, end.out, end.err) for end in ends] == [
        (5, "", "longcall: there is no task nothing-of-the-kind; `longcall list` shows those there are\n")
    ] * 2


async def test_a_callback_is_asked_for_and_shown(longcall: Run, serve: Start, up: Service) -> None:
    """--callback is enough: the end is told, signed with the folder's secret, and status says what became of it."""
    receiver = await serve(well_behaved)
    made = await longcall("submit", (await serve(well_behaved)).url, "--callback", receiver.url, "--wait")
    assert made.code == 0
    await asyncio.wait_for(receiver.called.wait(), 10)
    event = webhooks.verify(receiver.seen[0].headers, receiver.seen[0].body, up.secret)
    async with AsyncLongcall(up.api) as client:
        await client.wait(event.id, "10s")
    status = (await longcall("status", event.task.id)).out
    assert f"callback: {receiver.url}\n" in status
    assert f"told: succeeded (SUCCEEDED, {event.id})\n" in status


async def test_a_callback_that_is_no_url_is_named_as_the_option(longcall: Run) -> None:
    """Exit code 2."""
    refused = await longcall("submit", "http://a/", "--callback", "me.example/hook")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("longcall: --callback: ")


async def test_requeue_says_what_was_overdue(longcall: Run, serve: Start, up: Service) -> None:
    """A line a task for scripts; a dry run changes nothing; then nothing is overdue."""
    receiver = await serve(well_behaved)
    task_id = await bring(up.api, serve, "FAILED", callback=receiver.url)
    async with AsyncLongcall(up.api) as client:
        told = f"{task_id}.callback-{(await client.get(task_id)).version}"
        await client.wait(told, "10s")
        await client.forget(told)
        dry = await longcall("requeue", "--dry-run")
        assert (dry.code, dry.out) == (0, f"untold\t{task_id}\n")
        assert dry.err == "overdue, and left as they are: 0 waiting, 0 running without a runner, 1 whose end was not told\n"
        done = json.loads((await longcall("requeue", "--json")).out)
        assert done == {"dryRun": False, "waiting": [], "running": [], "untold": [task_id]}
        await client.wait(told, "10s")
    after = await longcall("requeue")
    assert (after.code, after.out, after.err) == (0, "", "nothing is overdue\n")


async def test_keygen_makes_a_secret(longcall: Run) -> None:
    """The secret alone on standard output, so that a shell can take it; each time another; how to set it on standard error."""
    first, second = await longcall("keygen"), await longcall("keygen", "--json")
    assert len(key_of(first.out.strip())) == len(key_of(json.loads(second.out)["secret"])) == 32
    assert first.out.strip() not in second.out
    assert "LONGCALL_WEBHOOK_SECRETS" in first.err
    assert (first.code, second.code, second.err) == (0, 0, "")


@pytest.mark.parametrize(("name", "right"), [("ci", "write"), ("ci:write", "write"), ("ci:read", "read"), ("ann@example.com:read", "read")])
async def test_keygen_makes_a_token(longcall: Run, name: str, right: str) -> None:
    """The token alone on standard output, once; its entry, which is no token, on standard error."""
    first, second = await longcall("keygen", "--token", name), await longcall("keygen", "--token", name, "--json")
    token, made = first.out.strip(), json.loads(second.out)
    assert (first.code, second.code, len(token) > 43, token != made["token"]) == (0, 0, True, True)
    entry = token_text(Token(Caller(name.partition(":")[0], Right(right)), digest(token)))
    assert entry in first.err
    assert token not in first.err
    assert holder(tokens_from_text(made["entry"]), made["token"]) is not None


@pytest.mark.parametrize("name", ["", "a b", "a:admin", "a,b", "a:read:write"])
async def test_keygen_refuses_a_wrong_name(longcall: Run, name: str) -> None:
    """2, and nothing is made."""
    ended = await longcall("keygen", "--token", name)
    assert (ended.code, ended.out, "NAME:read" in ended.err) == (2, "", True)
