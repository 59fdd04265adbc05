import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.cloud.tasks_v2 import AppEngineHttpRequest, Task

from longcall.core.text import parse_time, time_text
from tests.end_to_end.program import QUEUE, environment, google_client, up
from tests.target import Line, Serve, Target, well_behaved

Start = Callable[[Serve], Awaitable[Target]]


async def ask(method: str, url: str, body: object = None) -> dict[str, Any]:
    """One request to the API."""
    async with aiohttp.ClientSession() as http, http.request(method, url, json=body) as answer:
        found: dict[str, Any] = await answer.json(content_type=None)
        return found


def calling(target: Target) -> bytes:
    """The body of a task that calls a target."""
    return f'{{"httpRequest":{{"url":"{target.url}"}}}}'.encode()


def by_hand(name: str, body: bytes) -> Task:
    """A task as somebody puts it on the queue who has never heard of our client."""
    return Task(name=f"{QUEUE}/tasks/{name}", app_engine_http_request=AppEngineHttpRequest(relative_uri="/dispatch", body=body))


class Slow:
    """A target that holds its first calls until it is told to answer."""

    def __init__(self) -> None:
        self.answering = asyncio.Event()
        self.calls = asyncio.Semaphore(0)

    async def __call__(self, line: Line) -> None:
        """Hold one call."""
        await line.request()
        self.calls.release()
        await self.answering.wait()
        await line.answer(200, b"ok", "Connection: close")  # said, or the next call might be made on it just as it closes


async def test_a_kill_in_the_middle_of_a_call_loses_nothing(serve: Start, tmp_path: Path) -> None:
    """`kill -9` while a call is held, start again: the task is made again and ends SUCCEEDED, the first attempt `interrupted`."""
    slow = Slow()
    target = await serve(slow)
    async with up(tmp_path / "data") as first:
        await ask("POST", f"{first.api}/v1/tasks", {"id": "train", "httpRequest": {"url": target.url}})
        await asyncio.wait_for(slow.calls.acquire(), 10)
        await first.kill()
    slow.answering.set()
    async with up(tmp_path / "data") as second:
        task = await ask("GET", f"{second.api}/v1/tasks/train?wait=20s")
    assert task["state"] == "SUCCEEDED", task
    assert [(each["outcome"], (each["error"] or {}).get("code")) for each in task["attempts"]] == [
        ("interrupted", "LOST"),
        ("response", None),
    ]
    assert target.seen[1].headers["longcall-previous"] == "interrupted"
    assert [seen.headers["idempotency-key"] for seen in target.seen] == ['"train"'] * 2


async def test_a_kill_with_many_calls_loses_none(serve: Start, tmp_path: Path) -> None:
    """A hundred calls held, half put by Google's client, some waiting for their retry: after a kill each ends, in two attempts at most."""
    slow = Slow()
    target = await serve(slow)
    async with up(tmp_path / "data") as first, google_client(first.grpc) as google:
        for number in range(50):
            await ask("POST", f"{first.api}/v1/tasks", {"id": f"api-{number}", "httpRequest": {"url": target.url}})
            await google.create_task(parent=QUEUE, task=by_hand(f"hand-{number}", calling(target)))
        for _ in range(100):
            await asyncio.wait_for(slow.calls.acquire(), 20)
        await first.kill()
    slow.answering.set()
    async with up(tmp_path / "data") as second:
        tasks = [await ask("GET", f"{second.api}/v1/tasks/{kind}-{number}?wait=30s") for number in range(50) for kind in ("api", "hand")]
    assert {task["state"] for task in tasks} == {"SUCCEEDED"}
    assert {tuple(each["outcome"] for each in task["attempts"]) for task in tasks} == {("interrupted", "response")}
    assert len(target.seen) == 200


async def test_a_stop_in_the_middle_of_a_call_counts_no_attempt(serve: Start, tmp_path: Path) -> None:
    """SIGTERM closes the call and settles it as drained within a second or so; after a start it goes on."""
    slow = Slow()
    target = await serve(slow)
    policy = {"maxAttempts": 1}
    async with up(tmp_path / "data") as first:
        await ask("POST", f"{first.api}/v1/tasks", {"id": "train", "httpRequest": {"url": target.url}, "retry": policy})
        await asyncio.wait_for(slow.calls.acquire(), 10)
        assert await first.stop() == 0
    slow.answering.set()
    async with up(tmp_path / "data") as second:
        task = await ask("GET", f"{second.api}/v1/tasks/train?wait=20s")
    assert task["state"] == "SUCCEEDED", task
    assert task["attempts"][0]["error"]["code"] == "DRAINED"


async def test_a_scheduled_task_survives_a_kill(serve: Start, tmp_path: Path) -> None:
    """What waits for its time is on disk, in the queue and in the store."""
    target = await serve(well_behaved)
    async with up(tmp_path / "data") as first:
        created = await ask("POST", f"{first.api}/v1/tasks", {"id": "now", "httpRequest": {"url": target.url}})
        soon = time_text(parse_time(created["createTime"]) + timedelta(seconds=2))
        await ask("POST", f"{first.api}/v1/tasks", {"id": "later", "httpRequest": {"url": target.url}, "scheduleTime": soon})
        await first.kill()
    async with up(tmp_path / "data") as second:
        task = await ask("GET", f"{second.api}/v1/tasks/later?wait=20s")
    assert (task["state"], task["attemptCount"]) == ("SUCCEEDED", 1)


async def test_google_s_client_puts_any_task_and_nothing_vanishes(serve: Start, tmp_path: Path) -> None:
    """By hand over gRPC: a good task is called; a broken one is FAILED `invalid` with its bytes, and the queue is done with it."""
    target = await serve(well_behaved)
    broken = {
        "json": b'{"httpRequest": {"url": ',
        "field": b'{"httpRequest":{"url":"http://127.0.0.1:9/"},"retyr":{}}',
        "own": b'{"id":"x","httpRequest":{"url":"http://127.0.0.1:9/"}}',
        "tokens": b'{"httpRequest":{"url":"http://127.0.0.1:9/","auth":"none","oidcToken":{"serviceAccountEmail":"a@b"}}}',
        "bytes": b"\xff\xfe",
        "ours": b'{"task":"x","created":"2026-11-24T00:00:00Z","version":1,"at":"2026-11-24T00:00:00Z","create":{"httpRequest":5}}',
    }
    async with up(tmp_path / "data") as running, google_client(running.grpc) as google:
        bodies = broken | {"good": calling(target)}
        for name, body in bodies.items():
            await google.create_task(parent=QUEUE, task=by_hand(name, body))
        good = await ask("GET", f"{running.api}/v1/tasks/good?wait=10s")
        assert (good["state"], good["queue"]) == ("SUCCEEDED", QUEUE)
        for name in broken.keys() - {"ours"}:
            task = await ask("GET", f"{running.api}/v1/tasks/{name}?wait=10s")
            assert (task["state"], task["failure"]["reason"]) == ("FAILED", "invalid"), task
            assert task["raw"], name
        forged = await ask("GET", f"{running.api}/v1/tasks/x?wait=10s")
        assert (forged["state"], forged["failure"]["reason"]) == ("FAILED", "invalid"), forged
        left = [task.name async for task in await google.list_tasks(parent=QUEUE)]
        assert left == []


async def run(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command to its end with these settings: exit code, and what it said, answers before errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "longcall", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment() | {f"LONGCALL_{name}": value for name, value in settings.items()},
    )
    answered, said = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, (answered + said).decode()


async def test_a_data_folder_has_one_owner(tmp_path: Path) -> None:
    """A second `up` on the same folder says so in one sentence and ends with 3."""
    async with up(tmp_path / "data"):
        code, said = await run("up", "--port", "0", "--grpc-port", "0", "--rest-port", "0", "--data", str(tmp_path / "data"))
    assert code == 3
    assert "is in use by another longcall up" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("option", ["--port", "--grpc-port", "--rest-port"])
async def test_a_port_in_use_is_said(serve: Start, tmp_path: Path, option: str) -> None:
    """One sentence with the port, and 3."""
    taken = str((await serve(well_behaved)).port)
    ports = {"--port": "0", "--grpc-port": "0", "--rest-port": "0"} | {option: taken}
    code, said = await run("up", *(word for pair in ports.items() for word in pair), "--data", str(tmp_path / "data"))
    assert (code, "Traceback" in said) == (3, False), said
    assert taken in said


async def test_ctrl_c_stops_it(tmp_path: Path) -> None:
    """SIGINT ends it cleanly."""
    async with up(tmp_path / "data") as running:
        assert await running.stop(signal.SIGINT) == 0


async def test_up_says_what_it_does_not_use(tmp_path: Path) -> None:
    """A store that was set for runners is left alone, and whoever set it is told."""
    async with up(tmp_path / "data", STORE="postgresql://u:planted@127.0.0.1:9/db"):
        pass
    said = (tmp_path / "up.log").read_text()
    assert "LONGCALL_STORE is not used by up" in said
    assert "planted" not in said
