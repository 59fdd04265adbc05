"""`longcall logs`: what happened to a task, a line an event."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from longcall import AsyncLongcall
from longcall.cli.logs import cloud_logging, events
from longcall.sdk.view import TaskView, view_fields
from tests.cli.conftest import Run
from tests.sdk.service import Service
from tests.sdk.states import bring
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def view(**fields: object) -> TaskView:
    """A task as a server shows it."""
    times = dict.fromkeys(("createTime", "updateTime"), "2026-11-24T12:00:00Z")
    return TaskView(**view_fields({"id": "train", "state": "RUNNING", "version": 1, "attemptCount": 1, **times, **fields}))


async def test_the_attempts_the_end_and_the_callback(longcall: Run, serve: Start, up: Service) -> None:
    """Each is a line, in the order of time, with what is known of it; on a laptop no link."""

    async def failing_once(line: Line) -> None:
        await line.request()
        await line.answer(503 if len(line.seen) == 1 else 200)

    receiver = await serve(well_behaved)
    policy = ("--retry", "min=1s,max-backoff=1s,jitter=none")
    made = await longcall("submit", (await serve(failing_once)).url, *policy, "--callback", receiver.url, "--wait", "--json")
    task_id = json.loads(made.out)["id"]
    async with AsyncLongcall(up.api) as client:
        await client.wait((await client.get(task_id)).callbacks[0].task_id, "10s")
    shown = await longcall("logs", task_id)
    assert (shown.code, shown.err) == (0, "")
    lines = [line.split(" ", 2) for line in shown.out.splitlines()]
    named = ["task.accepted", *["attempt.started", "attempt.settled"] * 2, "task.finished", "callback.delivered"]
    assert [line[1] for line in lines] == named
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)
    first = lines[2][2]
    assert re.match(
        r"attempt=1 outcome=response status=503 seconds=[\d.]+ may_have_run=true code=STATUS why=\"the target answered 503\"", first
    )
    assert re.search(r" retry_time=20\S+$", first)
    assert f"callback={task_id}.callback-" in lines[-1][2]


async def test_json_is_a_line_an_event(longcall: Run, serve: Start, up: Service) -> None:
    """Each with its time, its name and the task."""
    task_id = await bring(up.api, serve, "FAILED")
    read = [json.loads(line) for line in (await longcall("logs", task_id, "--json")).out.splitlines()]
    assert [(each["event"], each["task"]) for each in read] == [
        (name, task_id) for name in ("task.accepted", "attempt.started", "attempt.settled", "task.finished")
    ]
    assert read[-1]["state"] == "FAILED"
    assert read[-1]["reason"] == "status"


async def test_no_such_task_is_exit_code_5(longcall: Run) -> None:
    """One sentence."""
    missing, nobody = await asyncio.gather(longcall("logs", "nothing"), longcall("logs", "x", "--url", "http://127.0.0.1:9"))
    assert (missing.code, missing.out, missing.err) == (
        5,
        "",
        "longcall: there is no task nothing; `longcall list` shows those there are\n",
    )
    assert nobody.code == 3


def test_a_hint_a_cancel_and_a_callback_under_way() -> None:
    """What a broken call looks like is said; a callback in a state of a newer server is no trouble."""
    error = {"code": "RESET", "message": "closed", "hint": "an idle limit"}
    attempt = {"number": 1, "runner": "r", "startTime": "2026-11-24T12:00:01Z", "endTime": "2026-11-24T12:04:01Z", "error": error}
    task = view(attempts=[attempt], cancelRequestTime="2026-11-24T12:05:00Z")
    told = view(id="train.callback-7", state="PONDERING", updateTime="2026-11-24T13:00:00Z", nextAttemptTime="2026-11-24T14:00:00Z")
    accepted, _, settled, cancel, callback = events(task, [("failed", told)])
    assert accepted["event"] == "task.accepted"
    assert (settled["hint"], settled["seconds"]) == ("an idle limit", 240.0)
    assert cancel["event"] == "task.cancel_requested"
    assert (callback["event"], callback["state"], callback["of"]) == ("callback.state", "PONDERING", "failed")
    assert callback["retry_time"] == "2026-11-24T14:00:00.000000Z"


@pytest.mark.parametrize("queue", [None, "default", "projects/longcall/locations/local/queues/default"])
def test_no_link_where_the_queue_is_not_googles(queue: str | None) -> None:
    """A laptop's lines are not in Cloud Logging."""
    assert cloud_logging(view(queue=queue), NOON) == ""


def test_the_link_is_of_the_queues_project() -> None:
    """From five minutes before its creation on, and up to five minutes from now while it goes on."""
    link = cloud_logging(view(queue="projects/my-project/locations/europe-west1/queues/longcall"), NOON)
    assert link.endswith("?project=my-project")
    asked = 'logName:"longcall" AND operation.id="train" AND timestamp>="2026-11-24T11:55:00'
    assert unquote(link).startswith(f"https://console.cloud.google.com/logs/query;query={asked}")
